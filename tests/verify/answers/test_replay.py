"""Witnesses and the model as given: in the region after rounding, misclassified in float32 too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Verdict
from verify.answers.replay import Replay, replay_of


def float32(values: Any) -> Any:
    return np.asarray(values, dtype=np.float32)


def is_float32(x: Any) -> bool:
    return bool((float32(x).astype(np.float64) == x).all())


REGIONS = [verify.LinfBall([0.1, 0.2, 0.3, 0.4], 0.3, clip=(0, 1)), verify.Box([-0.1] * 4, [0.7] * 4)]


@pytest.mark.parametrize("region", REGIONS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_witnesses_of_float32_models_hold_in_float32(region: verify.Box, seed: int, tmp_path: Path) -> None:
    network = zoo.network((4, 8, 3), seed=seed)
    module, path = network.to_torch(), network.to_onnx(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for source in (module, path):
        answer = verify.find_adversarial(source, region, seed=seed)
        if answer.witness is None:
            assert answer.replayed is None
            continue
        assert is_float32(answer.witness)
        assert region.contains(answer.witness)
        with torch.no_grad():
            by_torch = module(torch.tensor(answer.witness[None], dtype=torch.float32)).numpy()[0]
        by_onnx = session.run(None, {"x": float32(answer.witness[None])})[0][0]
        assert by_torch.argmax() != answer.label
        assert by_onnx.argmax() != answer.label
        assert answer.replayed is not None
        assert answer.replayed > 0


def test_a_witness_that_only_float64_sees_is_none() -> None:
    # The output crosses 0 between two float32 numbers next to the end of the region.
    edge = float(np.float32(1.0) - np.float32(2**-24))
    network = cx.SparseReLUNetwork([([[-1.0]], [edge + 2.0**-26])])
    region = verify.Box([0.5], [1.0 - 2.0**-25])
    assert verify.find_adversarial(network, region).status is Verdict.COUNTEREXAMPLE
    answer = verify.find_adversarial(network, region, model=network.to_torch("float64"))
    assert answer.status is Verdict.COUNTEREXAMPLE
    answer = verify.find_adversarial(network, region, model=network.to_torch())
    assert answer.status is Verdict.UNKNOWN
    assert "is a witness in float64, but" in answer.reason


def test_a_model_that_disagrees_refuses_the_witness() -> None:
    network, region = cx.SparseReLUNetwork([([[1.0]], None)]), verify.LinfBall([0.1], 1.0)
    answer = verify.find_adversarial(network, region, model=lambda x: np.ones(1))
    assert answer.status is Verdict.UNKNOWN
    assert "the model does not confirm it" in answer.reason
    assert verify.find_adversarial(network, region, model=lambda x: x).status is Verdict.COUNTEREXAMPLE


def test_outputs_that_are_not_finite_confirm_nothing() -> None:
    network, region = cx.SparseReLUNetwork([([[1.0]], None)]), verify.LinfBall([0.1], 1.0)
    for value in (np.nan, -np.inf):
        answer = verify.find_adversarial(network, region, model=lambda x, value=value: np.array([value]))
        assert answer.status is Verdict.UNKNOWN


def test_a_model_that_cannot_run_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="model cannot be run on an input of 1 numbers") as caught:
        verify.find_adversarial(
            cx.SparseReLUNetwork([([[1.0]], None)]), verify.LinfBall([0.1], 1.0), model=torch.nn.Linear(3, 1)
        )
    assert "\n" not in str(caught.value)


def test_a_network_of_ours_is_a_model_too(tmp_path: Path) -> None:
    network, region = cx.SparseReLUNetwork([([[1.0]], None)]), verify.LinfBall([0.1], 1.0)
    other = cx.SparseReLUNetwork([([[1.0]], [5.0])])
    for model in (other, other.save(tmp_path / "other.npz")):
        answer = verify.find_adversarial(network, region, model=model)
        assert answer.status is Verdict.UNKNOWN
        assert "the model does not confirm it" in answer.reason
    assert verify.find_adversarial(network, region, model=network).replayed is not None


def test_the_scores_of_a_network_of_ours_part_at_zero() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Sigmoid())
    torch.nn.init.ones_(module[0].weight)  # type: ignore[arg-type]
    network = verify.read_network(module).without_final()
    answer = verify.find_adversarial(module, verify.LinfBall([0.2], 0.4), model=network)
    assert answer.status is Verdict.COUNTEREXAMPLE
    assert answer.replayed == pytest.approx(answer.value)


def test_a_model_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    network, path = cx.SparseReLUNetwork([([[1.0]], None)]), tmp_path / "model.pth"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"model file .*\.pth has the ending '\.pth'; expected \.onnx, .* \(of torch"):
        verify.find_adversarial(network, verify.LinfBall([0.1], 1.0), model=path)


class TestRounding:
    replay = Replay(lambda x: x, np.dtype(np.float32), "nobody")

    @pytest.mark.parametrize("seed", range(30))
    def test_a_rounded_point_lies_in_the_region(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        center = rng.uniform(0, 1, 5)
        region = verify.LinfBall(center, 10.0 ** rng.uniform(-6, 0), clip=(0, 1))
        corner = np.where(rng.random(5) < 0.5, region.lower, region.upper)
        for x in (corner, rng.uniform(region.lower, region.upper)):
            rounded = self.replay.rounded(region, x)
            assert all(region.contains(y) and is_float32(y) for y in rounded)
            assert np.abs(rounded[0] - x).max() <= 1e-7

    def test_an_entry_without_a_neighbor_inside_stays(self) -> None:
        region = verify.Box([0.1, 0.0], [0.1, 1.0])
        (rounded, *_) = self.replay.rounded(region, np.array([0.1, 0.3]))
        assert rounded[0] == 0.1
        assert is_float32(rounded[1])

    def test_our_own_networks_are_not_replayed(self, tmp_path: Path) -> None:
        network = zoo.network((2, 1))
        assert replay_of(network) is None
        assert replay_of(str(network.save(tmp_path / "n.npz"))) is None

    def test_a_module_comes_back_in_its_mode(self) -> None:
        module = zoo.network((2, 3, 1)).to_torch().train()
        replay = replay_of(module)
        assert replay is not None
        replay.outputs(np.zeros(2))
        assert module.training


class TestTargets:
    def test_only_the_target_counts(self) -> None:
        # Classes 0 and 1 meet within the ball, class 2 is far away.
        network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.0]], [0.0, 0.0, -5.0])])
        region = verify.LinfBall([0.5], 1.0)
        assert verify.find_adversarial(network, region).status is Verdict.COUNTEREXAMPLE
        assert verify.find_adversarial(network, region, target=1).status is Verdict.COUNTEREXAMPLE
        assert verify.find_adversarial(network, region, target=2).status is Verdict.ROBUST

    def test_a_center_that_is_wrong_is_no_attack_whatever_the_target(self) -> None:
        network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.0]], [0.0, 0.0, -5.0])])
        answer = verify.find_adversarial(network, verify.LinfBall([0.5], 1.0), 1, target=2)
        assert answer.status is Verdict.MISCLASSIFIED

    @pytest.mark.parametrize(
        ("target", "words"),
        [(0, "target is 0, which is the label; expected another class"), (3, "target is 3; expected 0 to 2")],
    )
    def test_a_bad_target_is_one_line(self, target: int, words: str) -> None:
        network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.0]], [0.0, 0.0, -5.0])])
        with pytest.raises(ValueError, match=words):
            verify.find_adversarial(network, verify.LinfBall([0.5], 1.0), target=target)


def test_the_leak_of_a_milp_is_told() -> None:
    hard = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], [0.25])])
    answer = verify.find_adversarial(hard, verify.Box([-1.0], [1.0]), backend="highs")
    assert answer.backend == "highs"
    assert abs(answer.leak) <= 1e-6
