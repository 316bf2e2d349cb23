"""Iterative pruning: the sizes of its rounds, masks that stay, rewinding, and the procedure with the tools of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune

from convexnn.baselines import prune_iteratively, prune_once
from convexnn.baselines.iterative_pruning import pruning_schedule
from convexnn.baselines.training import train
from tests.helpers.baseline_tasks import task_of, teacher, weights_of


class TestRounds:
    def test_those_of_a_share(self) -> None:
        assert list(pruning_schedule(100, [50], 0.1)) == [90, 81, 73, 66, 59, 53, 50]

    @given(
        n=st.integers(1, 2000),
        shares=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4),
        prune=st.floats(0.001, 0.999),
    )
    def test_they_fall_by_at_most_a_share_and_stop_at_every_budget(
        self, n: int, shares: list[float], prune: float
    ) -> None:
        budgets = sorted({max(1, int(share * n)) for share in shares}, reverse=True)
        sizes = list(pruning_schedule(n, budgets, prune))
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
        sizes = list(pruning_schedule(54, [30], 0.2))
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
        sizes = list(pruning_schedule(n_weights, [n_weights // 2], 0.1))
        found = prune_iteratively(X, y, sizes[-1:], epochs_a_round=15, **options)[sizes[-1]]
        model = task_of(**options).new_model().network().to_torch()
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
        assert list(pruning_schedule(54, [30], 0.25)) == [40, 30]
        task = task_of(**options)
        model = task.new_model()
        first = model.layers.parameters.clone()
        for size in (40, 30):
            if rewind:
                model.layers.parameters.copy_(first * model.kept)
            train(model, task, 20)
            order = model.layers.parameters.abs().argsort(descending=True)[:size]
            model.kept.zero_()[order] = True
            model.layers.parameters.mul_(model.kept)
        expected = model.network()
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
        model = task_of().new_model()
        before = model.layers.parameters.clone()
        model.keep_largest(20)
        kept = model.layers.parameters != 0.0
        assert int(kept.sum()) == 20
        assert before[kept].abs().min() > before[~kept].abs().max()
        model.keep_largest(19)
        assert int((model.layers.parameters != 0.0).sum()) == 19

    def test_what_is_pruned_never_comes_back(self) -> None:
        model, task = task_of().new_model(), task_of()
        # Weights of zero are kept too: what counts is the mask.
        model.layers.parameters[:50] = 0.0
        model.keep_largest(3)
        assert model.n_kept == 3
        model.keep_largest(2)
        train(model, task, 5)
        assert model.n_kept == 2

    def test_the_network_as_a_whole_is_found_where_it_is_easy(self) -> None:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((400, 5))
        y = np.maximum(X[:, 0], 0.0)
        found = prune_iteratively(
            X, y, [1], width=3, epochs_a_round=20, last_epochs=100, batch_size=50, lr=1e-2, weights="hidden", seed=1
        )[1]
        assert found.loss < 1e-6
        assert weights_of(found)[0].max() == pytest.approx(1.0, abs=1e-2)
