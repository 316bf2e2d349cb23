"""Baselines: budgets met exactly, masks that stay, rewinding, and oracles written anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune

from convexnn.baselines import Baseline, prune_iteratively, prune_once, rigl, train_dense
from convexnn.baselines.iterative_pruning import rounds
from convexnn.baselines.masked_network import Trainee
from convexnn.baselines.trainable_part import LivePart
from convexnn.baselines.training import steps_a_pass, train
from convexnn.fitting.layers import Layers
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
    start = task_of(width=7, depth=2, bias=True, batch_size=None).trainee().network()
    model = start.to_torch()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows, target = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    for _ in range(30):
        optimizer.zero_grad()
        (0.5 * torch.nn.functional.mse_loss(model(rows), target)).backward()
        optimizer.step()
    np.testing.assert_allclose(found.predict(X), model(rows)[:, 0].detach().numpy(), atol=1e-5)


def test_the_first_weights_are_those_of_a_linear_layer_of_torch() -> None:
    layers = task_of(width=400, bias=True).trainee().layers
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


class TestRounds:
    def test_those_of_a_share(self) -> None:
        assert list(rounds(100, [50], 0.1)) == [90, 81, 73, 66, 59, 53, 50]

    @given(
        n=st.integers(1, 2000),
        shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4),
        prune=st.floats(0.001, 0.999),
    )
    def test_they_fall_by_at_most_a_share_and_stop_at_every_budget(
        self, n: int, shares: list[float], prune: float
    ) -> None:
        budgets = sorted({max(1, int(share * n)) for share in shares}, reverse=True)
        sizes = list(rounds(n, budgets, prune))
        assert set(budgets) <= set(sizes)
        assert sizes[-1] == budgets[-1]
        for before, after in zip([n, *sizes], sizes, strict=False):
            assert after < before or before == n == after
            assert before - after <= max(1, round(prune * before))


class TestIterative:
    def test_the_mask_shrinks_and_stays(self) -> None:
        X, y = teacher()
        found = prune_iteratively(X, y, [40, 30, 12], width=6, epochs_a_round=2, last_epochs=4, batch_size=50)
        masks = {budget: [weight != 0.0 for weight in weights_of(found[budget])] for budget in (40, 30, 12)}
        for large, small in ((40, 30), (30, 12)):
            assert all(np.all(a >= b) for a, b in zip(masks[large], masks[small], strict=True))

    @pytest.mark.parametrize("last_epochs", [0, 3])
    def test_a_budget_takes_nothing_from_those_below_it(self, last_epochs: int) -> None:
        # But the sizes of the rounds, where it is not one of them. The order of rows was such a thing once.
        X, y = teacher()
        sizes = list(rounds(54, [30], 0.2))
        options: dict[str, Any] = {"width": 6, "prune": 0.2, "batch_size": 50, "last_epochs": last_epochs}
        both = prune_iteratively(X, y, [sizes[1], 30], epochs_a_round=3, **options)
        alone = prune_iteratively(X, y, [30], epochs_a_round=3, **options)
        assert all(map(np.array_equal, weights_of(both[30]), weights_of(alone[30])))
        del options["prune"]
        pair, single = (prune_once(X, y, budgets, epochs=3, **options)[12] for budgets in ([30, 12], [12]))
        assert all(map(np.array_equal, weights_of(pair), weights_of(single)))

    @pytest.mark.parametrize("depth", [1, 2])
    def test_it_is_the_procedure_with_the_tools_of_torch(self, depth: int) -> None:
        X, y = teacher()
        options: dict[str, Any] = {"width": 6, "depth": depth, "batch_size": None, "lr": 1e-2}
        n_weights = 48 + 36 * (depth - 1) + 6
        sizes = list(rounds(n_weights, [n_weights // 2], 0.1))
        found = prune_iteratively(X, y, sizes[-1:], epochs_a_round=15, **options)[sizes[-1]]
        model = task_of(**options).trainee().network().to_torch()
        layers = [module for module in model if isinstance(module, torch.nn.Linear)]
        first = [layer.weight.detach().clone() for layer in layers]
        rows, target = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
        for before, after in zip([n_weights, *sizes], sizes, strict=False):
            for layer, weight in zip(layers, first, strict=True):
                dict(layer.named_parameters()).get("weight_orig", layer.weight).data.copy_(weight)
            trained = [value for name, value in model.named_parameters() if "weight" in name]
            optimizer = torch.optim.Adam(trained, lr=1e-2)
            for _ in range(15):
                optimizer.zero_grad()
                (0.5 * torch.nn.functional.mse_loss(model(rows), target)).backward()
                optimizer.step()
            # The masked weights that are compared are made by a pass forward.
            model(rows)
            pairs = [(layer, "weight") for layer in layers]
            prune.global_unstructured(pairs, prune.L1Unstructured, amount=before - after)
        for ours, layer in zip(weights_of(found), layers, strict=True):
            theirs = layer.weight.detach().numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
            np.testing.assert_array_equal(ours != 0.0, theirs != 0.0)

    @pytest.mark.parametrize("rewind", [False, True])
    def test_a_round_begins_at_the_first_weights_or_at_those_pruned(self, rewind: bool) -> None:
        # Full batches, so that the order of rows does not matter: two rounds by hand.
        X, y = teacher()
        options: dict[str, Any] = {"batch_size": None, "lr": 1e-2}
        found = prune_iteratively(X, y, [30], width=6, epochs_a_round=20, prune=0.25, rewind=rewind, **options)[30]
        assert list(rounds(54, [30], 0.25)) == [40, 30]
        task = task_of(**options)
        trainee = task.trainee()
        first = trainee.layers.parameters.clone()
        for size in (40, 30):
            if rewind:
                trainee.layers.parameters.copy_(first * trainee.kept)
            train(trainee, task, 20)
            order = trainee.layers.parameters.abs().argsort(descending=True)[:size]
            trainee.kept.zero_()[order] = True
            trainee.layers.parameters.mul_(trainee.kept)
        expected = trainee.network()
        for weight, (other, _) in zip(weights_of(found), expected.layers, strict=True):
            np.testing.assert_array_equal(weight, other.toarray())

    def test_without_last_passes_it_is_scored_as_it_was_pruned(self) -> None:
        X, y = teacher()
        options: dict[str, Any] = {"width": 6, "epochs_a_round": 30, "prune": 0.3, "batch_size": None, "lr": 1e-2}
        raw = prune_iteratively(X, y, [10], **options)[10]
        tuned = prune_iteratively(X, y, [10], last_epochs=50, **options)[10]
        assert tuned.loss < raw.loss
        assert np.array_equal(weights_of(raw)[0] != 0.0, weights_of(tuned)[0] != 0.0)

    def test_the_smallest_go_first_over_all_layers(self) -> None:
        trainee = task_of().trainee()
        before = trainee.layers.parameters.clone()
        trainee.keep_largest(20)
        kept = trainee.layers.parameters != 0.0
        assert int(kept.sum()) == 20
        assert before[kept].abs().min() > before[~kept].abs().max()
        trainee.keep_largest(19)
        assert int((trainee.layers.parameters != 0.0).sum()) == 19

    def test_what_is_pruned_never_comes_back(self) -> None:
        trainee, task = task_of().trainee(), task_of()
        # Weights of zero are kept too: what counts is the mask.
        trainee.layers.parameters[:50] = 0.0
        trainee.keep_largest(3)
        assert trainee.n_kept == 3
        trainee.keep_largest(2)
        train(trainee, task, 5)
        assert trainee.n_kept == 2

    def test_the_network_as_a_whole_is_found_where_it_is_easy(self) -> None:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((400, 5))
        y = np.maximum(X[:, 0], 0.0)
        found = prune_iteratively(
            X, y, [1], width=3, epochs_a_round=20, last_epochs=100, batch_size=50, lr=1e-2, weights="hidden", seed=1
        )[1]
        assert found.loss < 1e-6
        assert weights_of(found)[0].max() == pytest.approx(1.0, abs=1e-2)


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
    def test_a_trainee_without_a_way_from_input_to_output_is_left_alone(self, gap: slice) -> None:
        task = task_of()
        trainee = task.trainee()
        trainee.kept[gap] = False
        # Without this the first three neurons have inputs alone, with it the last three outputs alone.
        trainee.kept[24:48] = False
        trainee.apply()
        before = trainee.layers.parameters.clone()
        assert LivePart.of(trainee) is None
        train(trainee, task, 3)
        assert torch.equal(trainee.layers.parameters, before)


class TestLivePart:
    @pytest.mark.parametrize("weights", ["all", "hidden"])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("depth", [1, 2, 3])
    @pytest.mark.parametrize("budget", [6, 15, 40])
    def test_it_trains_as_the_whole_does(
        self, budget: int, depth: int, bias: bool, weights: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both = []
        for share in (0.0, 1.0):
            monkeypatch.setattr("convexnn.baselines.training.WORTHWHILE", share)
            task = task_of(width=7, depth=depth, bias=bias, weights=weights, seed=budget)
            trainee = task.trainee()
            trainee.keep_largest(budget)
            train(trainee, task, 4, decay=True)
            assert not trainee.layers.parameters[~trainee.kept].any()
            both.append(trainee.layers.parameters)
        torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-5)

    def test_it_has_what_is_on_a_way_from_input_to_output(self) -> None:
        trainee = Trainee.random((4, 3, 3, 1), False, None, torch.device("cpu"), torch.Generator().manual_seed(0))
        masks = trainee.layers.split(trainee.kept)[0]
        for mask in masks:
            mask.zero_()
        # Input 2 to neurons 1, 0 and out; a way that ends in neuron 2; one that begins in neuron 0.
        for layer, after, before in ((0, 1, 2), (1, 0, 1), (2, 0, 0), (0, 2, 3), (1, 2, 2), (1, 1, 0), (2, 0, 1)):
            masks[layer][after, before] = True
        part = LivePart.of(trainee)
        assert part is not None
        assert part.trainee.layers.sizes == (1, 1, 1, 1)
        assert part.inputs.tolist() == [2]
        assert part.places.tolist() == [1 * 4 + 2, 12 + 0 * 3 + 1, 21 + 0]


def test_the_step_falls_as_a_half_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(Adam, "step", lambda self, parameters, gradient, rate: rates.append(rate))
    task = task_of()
    assert steps_a_pass(task) == 6
    train(task.trainee(), task, 2, decay=True)
    np.testing.assert_allclose(rates, [0.5e-2 * (1.0 + math.cos(math.pi * t / 12)) for t in range(12)])


def test_a_trainee_keeps_its_layers_apart_from_its_copy() -> None:
    trainee = Trainee.random((3, 2, 1), False, None, torch.device("cpu"), torch.Generator().manual_seed(0))
    copy = trainee.copy()
    copy.keep_largest(1)
    assert trainee.n_kept == 8
    assert isinstance(copy.layers, Layers)


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"width": 0}, "width is 0"),
            ({"depth": 0}, "depth is 0"),
            ({"loss": "hinge"}, "loss 'hinge' is unknown"),
            ({"budgets": []}, "budgets is empty"),
            ({"budgets": [5, 0]}, r"budgets\[1\] is 0"),
            ({"budgets": [100]}, r"budgets\[0\] is 100; expected at most 54, the weights of the dense network"),
            ({"epochs_a_round": 0}, "epochs_a_round is 0"),
            ({"last_epochs": -1}, "last_epochs is -1"),
            ({"prune": 1.0}, "prune is 1; expected a share above 0 and below 1"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"lr": 0.0}, "lr is 0; expected a step size above 0"),
            ({"device": "abacus"}, "device 'abacus' is unknown"),
            ({"seed": -1}, "seed is -1"),
        ],
    )
    def test_a_value_out_of_range_is_named(self, change: dict[str, Any], message: str) -> None:
        options: dict[str, Any] = {"budgets": [5], "width": 6, "epochs_a_round": 1, **change}
        with pytest.raises(ValueError, match=message):
            prune_iteratively(*teacher(), options.pop("budgets"), **options)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"budgets": 5}, "budgets is 5; expected a sequence"),
            ({"rewind": 1}, "rewind is 1; expected True or False"),
            ({"decay": "yes"}, "decay is 'yes'; expected True or False"),
            ({"bias": None}, "bias is None; expected True or False"),
            ({"width": 2.5}, "width is 2.5; expected a whole number"),
        ],
    )
    def test_a_value_of_another_type_is_named(self, change: dict[str, Any], message: str) -> None:
        options: dict[str, Any] = {"budgets": [5], "width": 6, "epochs_a_round": 1, **change}
        with pytest.raises(TypeError, match=message):
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
