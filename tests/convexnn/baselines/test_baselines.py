"""All baselines: budgets met exactly, seeds, devices, fixed outputs, layers without weights, bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from convexnn.baselines import Baseline, prune_iteratively, prune_once, rigl, train_dense
from convexnn.baselines.trainable_part import TrainablePart
from convexnn.baselines.training import steps_a_pass, train
from convexnn.fitting.training import Adam
from convexnn.program.losses import loss_named
from tests.helpers.baseline_tasks import targets, task_of, teacher, weights_of

KINDS: dict[str, Callable[..., dict[int, Baseline]]] = {
    "iterative": lambda X, y, budgets, **options: prune_iteratively(
        X, y, budgets, epochs_a_round=2, prune=0.3, last_epochs=3, **options
    ),
    "one-shot": lambda X, y, budgets, **options: prune_once(X, y, budgets, epochs=3, last_epochs=3, **options),
    "rigl": lambda X, y, budgets, **options: {
        budget: rigl(X, y, budget, epochs=6, every=3, **options) for budget in budgets
    },
}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
@pytest.mark.parametrize("kind", KINDS)
def test_budgets_are_met_and_the_loss_is_that_of_the_network(kind: str, loss: str, depth: int) -> None:
    X, y = targets(loss)
    found = KINDS[kind](X, y, [20, 41], width=5, depth=depth, loss=loss, batch_size=30, seed=1)
    assert set(found) == {20, 41}
    for budget, baseline in found.items():
        stored = [weight for weight, _ in baseline.network.layers]
        assert baseline.nnz == sum(weight.nnz for weight in stored) == baseline.network.nnz
        # What RigL grew and never had a gradient is zero.
        assert baseline.nnz == budget or (kind == "rigl" and budget - 3 <= baseline.nnz < budget)
        assert baseline.network.sizes == (8, *[5] * depth, {"squared": 2, "logistic": 1, "softmax": 3}[loss])
        rows = X.astype(np.float32).astype(np.float64)
        encoded = y
        if baseline.classes is not None:
            index = np.searchsorted(baseline.classes, y)
            encoded = 2.0 * index - 1.0 if loss == "logistic" else np.eye(3)[index]
        expected = loss_named(loss).value(baseline.predict(rows), np.asarray(encoded, dtype=np.float32).astype(float))
        assert baseline.loss == pytest.approx(expected, rel=1e-6)
        assert f"{baseline.nnz} weights" in str(baseline)
        assert baseline.method in repr(baseline)


def test_all_weights_may_stay() -> None:
    X, y = teacher()
    for found in (run(X, y, [54], width=6, batch_size=30) for run in KINDS.values()):
        assert found[54].nnz == 54


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_network(kind: str) -> None:
    X, y = teacher()
    networks = [KINDS[kind](X, y, [20], width=5, batch_size=30, seed=seed)[20] for seed in (3, 3, 4)]
    same, other = ([*map(weights_of, pair)] for pair in ((networks[0], networks[1]), (networks[0], networks[2])))
    assert all(map(np.array_equal, *same))
    assert not all(map(np.array_equal, *other))


def test_dense_training_is_that_of_torch() -> None:
    X, y = teacher()
    found = train_dense(X, y, width=7, depth=2, epochs=30, batch_size=None, bias=True, lr=3e-3)
    start = task_of(width=7, depth=2, bias=True, batch_size=None).new_model().network()
    model = start.to_torch()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows, target = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    for _ in range(30):
        optimizer.zero_grad()
        (0.5 * torch.nn.functional.mse_loss(model(rows), target)).backward()
        optimizer.step()
    np.testing.assert_allclose(found.predict(X), model(rows)[:, 0].detach().numpy(), atol=1e-5)


def test_the_first_weights_are_those_of_a_linear_layer_of_torch() -> None:
    layers = task_of(width=400, bias=True).new_model().layers
    for inputs, parts in ((8, (layers.weights[0], layers.biases[0])), (400, (layers.weights[1],))):
        for part in parts:
            assert float(part.abs().max()) == pytest.approx(inputs**-0.5, rel=0.05)
            assert float(part.std()) == pytest.approx((3 * inputs) ** -0.5, rel=0.1)
    assert layers.biases[1].item() != 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_is_used(kind: str, device: str) -> None:
    X, y = teacher()
    found = KINDS[kind](X, y, [20], width=5, batch_size=30, device=device, weights="hidden")[20]
    assert found.nnz == 20
    assert np.isfinite(found.loss)


def test_labels_are_told_apart() -> None:
    X, y = targets("softmax")
    found = prune_iteratively(
        X, y, [40], width=8, loss="softmax", epochs_a_round=20, prune=0.3, last_epochs=100, batch_size=50, lr=1e-2
    )[40]
    assert found.classes is not None
    assert list(found.classes) == ["above", "below", "between"]
    assert np.mean(found.classes[found.predict(X).argmax(axis=1)] == y) > 0.8


class TestHidden:
    SIGNS = (1.0, -1.0, 1.0, -1.0, 1.0)

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_last_layer_is_given_and_not_counted(self, kind: str, bias: bool) -> None:
        X, y = teacher()
        options: dict[str, Any] = {"width": 5, "weights": "hidden", "batch_size": 30, "bias": bias}
        for signs in (None, self.SIGNS):
            found = KINDS[kind](X, y, [10], output_signs=signs, **options)[10]
            hidden, last = weights_of(found)
            assert np.count_nonzero(hidden) == found.nnz == 10
            assert last.tolist() == [list(signs or np.ones(5))]
            assert not found.network.layers[1][1].any()

    def test_all_of_it_may_stay(self) -> None:
        X, y = teacher()
        assert prune_iteratively(X, y, [40], width=5, weights="hidden", epochs_a_round=1)[40].nnz == 40

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"weights": "hidden", "output_signs": [1, 1]}, r"output_signs has shape \(2,\); expected"),
            ({"weights": "hidden", "output_signs": [1, 1, 1, 1, 0.5]}, "output_signs holds 0.5; expected -1 and 1"),
            ({"output_signs": [1] * 5}, "output_signs is given and weights is 'all'"),
            ({"weights": "some"}, "weights 'some' is unknown"),
        ],
    )
    def test_other_signs_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            prune_iteratively(*teacher(), [5], width=5, epochs_a_round=1, **options)

    def test_several_outputs_are_refused(self) -> None:
        X, y = targets("squared")
        with pytest.raises(ValueError, match="weights is 'hidden' and there are 2 outputs; expected one output"):
            prune_once(X, y, [5], width=5, epochs=1, weights="hidden")


class TestCollapse:
    """A layer without weights: the output is constant, nothing fails, and nothing else happens."""

    @pytest.mark.parametrize("depth", [1, 2])
    def test_a_layer_may_lose_all_of_its_weights(self, depth: int) -> None:
        X, y = teacher()
        found = prune_iteratively(X, y, [1], width=6, depth=depth, epochs_a_round=2, last_epochs=2, batch_size=50)[1]
        assert found.nnz == 1
        assert not found.predict(X).any()
        assert found.loss == pytest.approx(0.5 * float(np.mean(y**2)), rel=1e-6)

    def test_biases_are_trained_on(self) -> None:
        X, y = teacher()
        found = prune_once(X, y + 3.0, [1], width=6, bias=True, epochs=1, last_epochs=300, batch_size=None, lr=5e-2)[1]
        assert found.nnz == 1
        np.testing.assert_allclose(found.predict(X), np.mean(y + 3.0), atol=0.01)

    @pytest.mark.parametrize("gap", [slice(48, None), slice(48, 51)], ids=["no layer", "no way"])
    def test_a_network_without_a_way_from_input_to_output_is_left_alone(self, gap: slice) -> None:
        task = task_of()
        model = task.new_model()
        model.kept[gap] = False
        # Without this the first three neurons have inputs alone, with it the last three outputs alone.
        model.kept[24:48] = False
        model.apply()
        before = model.layers.parameters.clone()
        assert TrainablePart.of(model) is None
        train(model, task, 3)
        assert torch.equal(model.layers.parameters, before)


def test_the_step_falls_as_a_half_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(Adam, "step", lambda self, parameters, gradient, rate: rates.append(rate))
    task = task_of()
    assert steps_a_pass(task) == 6
    train(task.new_model(), task, 2, decay=True)
    np.testing.assert_allclose(rates, [0.5e-2 * (1.0 + math.cos(math.pi * t / 12)) for t in range(12)])


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "change", "message"),
        [
            (ValueError, {"width": 0}, "width is 0"),
            (ValueError, {"depth": 0}, "depth is 0"),
            (ValueError, {"loss": "hinge"}, "loss 'hinge' is unknown"),
            (ValueError, {"budgets": []}, "budgets is empty"),
            (ValueError, {"budgets": [5, 0]}, r"budgets\[1\] is 0"),
            (
                ValueError,
                {"budgets": [100]},
                r"budgets\[0\] is 100; expected at most 54, the weights of the dense network",
            ),
            (ValueError, {"epochs_a_round": 0}, "epochs_a_round is 0"),
            (ValueError, {"last_epochs": -1}, "last_epochs is -1"),
            (ValueError, {"prune": 1.0}, "prune is 1; expected a share above 0 and below 1"),
            (ValueError, {"batch_size": 0}, "batch_size is 0"),
            (ValueError, {"lr": 0.0}, "lr is 0; expected a step size above 0"),
            (ValueError, {"device": "abacus"}, "device 'abacus' is unknown"),
            (ValueError, {"seed": -1}, "seed is -1"),
            (TypeError, {"budgets": 5}, "budgets is 5; expected a sequence"),
            (TypeError, {"rewind": 1}, "rewind is 1; expected True or False"),
            (TypeError, {"decay": "yes"}, "decay is 'yes'; expected True or False"),
            (TypeError, {"bias": None}, "bias is None; expected True or False"),
            (TypeError, {"width": 2.5}, "width is 2.5; expected a whole number"),
        ],
    )
    def test_a_wrong_value_is_named(self, error: type[Exception], change: dict[str, Any], message: str) -> None:
        options: dict[str, Any] = {"budgets": [5], "width": 6, "epochs_a_round": 1, **change}
        with pytest.raises(error, match=message):
            prune_iteratively(*teacher(), options.pop("budgets"), **options)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"drop": 1.5}, "drop is 1.5; expected at most 1"),
            ({"every": 0}, "every is 0"),
            ({"shares": "fair"}, "shares 'fair' is unknown"),
            ({"budget": 55}, "budget is 55; expected at most 54"),
            ({"epochs": 0}, "epochs is 0"),
        ],
    )
    def test_those_of_rigl_too(self, change: dict[str, Any], message: str) -> None:
        options: dict[str, Any] = {"budget": 5, "width": 6, "epochs": 1, **change}
        with pytest.raises(ValueError, match=message):
            rigl(*teacher(), options.pop("budget"), **options)
