"""Torch modules with several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import verify


class Two(nn.Module):
    """Reads an image of 2 x 3 x 3 and a vector of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.known = nn.Conv2d(2, 3, 2), nn.Linear(4, 5)
        self.last = nn.Linear(17, 2)

    def forward(self, image: Any, vector: Any, scale: float = 1.0) -> Any:
        """Return two outputs."""
        parts = [torch.relu(self.seen(image)).flatten(1), torch.relu(self.known(vector))]
        return self.last(torch.cat(parts, dim=1)) * scale


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return Two()


def test_several_inputs_lie_one_after_the_other(module: Two) -> None:
    network = verify.read_network(module, input_shape=[(2, 3, 3), (4,)])
    rows = np.random.default_rng(0).standard_normal((20, 22))
    image, vector = (torch.tensor(part, dtype=torch.float32) for part in np.split(rows, [18], axis=1))
    with torch.no_grad():
        expected = module(image.reshape(-1, 2, 3, 3), vector).numpy()
    assert network.n_inputs == 22
    assert np.allclose(network.predict(rows), expected, atol=1e-5)


def test_a_question_is_asked_of_the_network(module: Two) -> None:
    network = verify.read_network(module, input_shape=[(2, 3, 3), (4,)])
    assert verify.find_adversarial(network, verify.LinfBall(np.zeros(22), 1e-4)).status is verify.Verdict.ROBUST


@pytest.mark.parametrize("shapes", [None, (22,), [(2, 3, 3), (4,), (1,), (1,)]])
def test_other_numbers_of_inputs_are_refused_in_a_line(module: Two, shapes: Sequence[Any] | None) -> None:
    with pytest.raises(ValueError, match="takes the inputs image, vector, scale; expected a shape for each") as caught:
        verify.read_network(module, input_shape=shapes)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit_are_refused_with_the_layer(module: Two) -> None:
    with pytest.raises(ValueError, match="layer known"):
        verify.read_network(module, input_shape=[(2, 3, 3), (5,)])
