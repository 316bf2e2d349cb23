"""The part of a masked network that can change trains as the whole does."""

from __future__ import annotations

import pytest
import torch

from convexnn.baselines.masked_network import MaskedNetwork
from convexnn.baselines.trainable_part import TrainablePart
from convexnn.baselines.training import train
from convexnn.fitting.layers import Layers
from tests.helpers.baseline_tasks import task_of


class TestTrainablePart:
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
            model = task.new_model()
            model.keep_largest(budget)
            train(model, task, 4, decay=True)
            assert not model.layers.parameters[~model.kept].any()
            both.append(model.layers.parameters)
        torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-5)

    def test_it_has_what_is_on_a_way_from_input_to_output(self) -> None:
        model = MaskedNetwork.random((4, 3, 3, 1), False, None, torch.device("cpu"), torch.Generator().manual_seed(0))
        masks = model.layers.split(model.kept)[0]
        for mask in masks:
            mask.zero_()
        # Input 2 to neurons 1, 0 and out; a way that ends in neuron 2; one that begins in neuron 0.
        for layer, after, before in ((0, 1, 2), (1, 0, 1), (2, 0, 0), (0, 2, 3), (1, 2, 2), (1, 1, 0), (2, 0, 1)):
            masks[layer][after, before] = True
        part = TrainablePart.of(model)
        assert part is not None
        assert part.model.layers.sizes == (1, 1, 1, 1)
        assert part.inputs.tolist() == [2]
        assert part.indices.tolist() == [1 * 4 + 2, 12 + 0 * 3 + 1, 21 + 0]


def test_a_masked_network_keeps_its_layers_apart_from_its_copy() -> None:
    model = MaskedNetwork.random((3, 2, 1), False, None, torch.device("cpu"), torch.Generator().manual_seed(0))
    copy = model.copy()
    copy.keep_largest(1)
    assert model.n_kept == 8
    assert isinstance(copy.layers, Layers)
