"""Transfer: proofs about a copy, carried over, agree with enumeration of the network itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Proof, Verdict
from verify.bounds.margins import margins_of

BOX = verify.Box([-1.0, -1.0], [1.0, 1.0])


@pytest.mark.parametrize("first", range(0, 60, 12))
def test_what_is_carried_over_is_true_of_the_network(first: int) -> None:
    proven = 0
    for seed in range(first, first + 12):
        rng = np.random.default_rng(seed)
        dense = zoo.network([(2, 4, 3), (3, 3, 3, 2), (2, 4, 1)][seed % 3], seed=seed)
        sparse = verify.prune(dense, float(rng.choice([0.1, 0.3, 0.6])))
        region = verify.LinfBall(rng.uniform(-1.0, 1.0, dense.n_inputs), float(rng.choice([0.05, 0.2, 0.5])))
        answer = verify.certify_through(dense, sparse, region, time_limit=5.0, backend="branching")
        assert answer.label is not None
        rows = margins_of(dense, answer.label).rows.toarray()
        truth = max(zoo.enumerated_maximum(dense, region.lower, region.upper, row) for row in rows)
        assert answer.bound >= truth - 1e-7
        assert answer.value <= truth + 1e-7
        assert answer.status in (Verdict.ROBUST, Verdict.UNKNOWN)
        assert (answer.proof is Proof.DIFFERENCE) == (answer.status is Verdict.ROBUST)
        proven += answer.status is Verdict.ROBUST
    assert proven >= 2


def drifting(shift: float) -> tuple[cx.SparseReLUNetwork, cx.SparseReLUNetwork]:
    """Return 1.5 - |x| - shift * y, the neuron of y always active, and the same without the small weight on y."""
    into = [[1.0, 0.0], [-1.0, 0.0], [0.0, shift]]
    layers: list[tuple[Any, Any]] = [(into, [0.0, 0.0, 9.0 * shift]), ([[-1.0, -1.0, -1.0]], [1.5 + 9.0 * shift])]
    dense = cx.SparseReLUNetwork(layers)
    return dense, verify.prune(dense, kept=2)


def test_bounds_of_the_copy_and_of_the_difference_add_up() -> None:
    # Copy: 1.5 - |x| >= 0.5; difference: at most 0.2 either way.
    dense, sparse = drifting(0.2)
    assert sparse.layers[0][0].nnz == 2
    answer = verify.certify_through(dense, sparse, BOX)
    assert (answer.status, answer.proof, answer.label) == (Verdict.ROBUST, Proof.DIFFERENCE, 1)
    assert answer.bound == pytest.approx(-0.3)
    assert "A bound on the difference and the copy's CROWN bounds prove it." in str(answer)
    assert "margins at most 0.2 above those of the copy" in str(answer.trace[0])
    assert (answer.witness, answer.backend) == (None, None)


def test_a_copy_that_is_not_robust_proves_nothing() -> None:
    # 0.6 - 2 relu(x) + 2 relu(x): always 0.6. The copy 0.6 - 2 relu(x) is not.
    dense = cx.SparseReLUNetwork([([[1.0, 0.0], [0.5, 0.0]], None), ([[-2.0, 4.0]], [0.6])])
    sparse = verify.prune(dense, kept=1)
    assert verify.find_adversarial(dense, BOX).status is Verdict.ROBUST
    answer = verify.certify_through(dense, sparse, BOX)
    assert (answer.status, answer.proof, answer.witness) == (Verdict.UNKNOWN, None, None)
    assert answer.bound > 0.0
    assert answer.value == pytest.approx(-0.6)


def hard() -> tuple[cx.SparseReLUNetwork, cx.SparseReLUNetwork, verify.Box]:
    """Return a network that CROWN bounds do not decide, and a copy that is hardly another."""
    dense = zoo.network((3, 8, 8, 2), seed=4)
    region = verify.LinfBall(np.full(3, 0.3), 0.35)
    return dense, verify.prune(dense, kept=63), region


def test_the_copy_is_decided_by_branch_and_bound_or_an_engine() -> None:
    dense, sparse, region = hard()
    label = 0 if np.diff(dense.predict(region.center[None])[0])[0] < 0 else 1
    margins = margins_of(dense, label)
    top = top_of(dense, margins, region)
    # The same question with the bias of the label raised until the margin is just below zero, by more than the bound on
    # the difference and by less than CROWN bounds need.
    gap = verify.difference(dense, sparse, region, margins.row(0)).upper[0]
    lift = np.zeros(2)
    lift[label] = top + gap + 0.05
    dense, sparse = (
        cx.SparseReLUNetwork([*net.layers[:-1], (net.layers[-1][0], net.layers[-1][1] + lift)])
        for net in (dense, sparse)
    )
    assert margins_of(dense, label).crown(region, verify.bound(dense, region)).upper[0] > 0.0
    branched = verify.certify_through(dense, sparse, region, label)
    assert (branched.status, branched.proof) == (Verdict.ROBUST, Proof.DIFFERENCE)
    assert "branch and bound" in branched.reason
    asked = verify.certify_through(dense, sparse, region, label, backend="scipy")
    assert (asked.status, asked.proof, asked.backend) == (Verdict.ROBUST, Proof.SOLVER, "scipy")
    late = verify.certify_through(dense, sparse, region, label, time_limit=0.0)
    assert (late.status, late.proof) == (Verdict.UNKNOWN, None)


def top_of(dense: cx.SparseReLUNetwork, margins: Any, region: verify.Box) -> float:
    """Return the largest margin over a region."""
    return verify.maximize(dense, region, margins.row(0)).bound


def test_a_wrong_center_is_not_robust() -> None:
    dense, sparse = drifting(0.2)
    answer = verify.certify_through(dense, sparse, BOX, -1)
    assert (answer.status, answer.proof) == (Verdict.MISCLASSIFIED, None)


def test_the_center_of_a_hollow_region_says_nothing() -> None:
    # It lies outside by rounding: called misclassified, it would be a witness outside of the region.
    row = np.array([1.0, 0.3])
    region = verify.Box([0, 0], [1, 1]).where([row, -row], [0.7, -0.7])
    assert region.is_hollow
    network = zoo.network((2, 3, 2), seed=1)
    wrong = int(network.activations(region.center[None])[-1][0].argmin())
    answer = verify.certify_through(network, network, region, wrong, time_limit=5.0)
    assert answer.status is Verdict.UNKNOWN
    assert answer.value == -np.inf


def test_a_center_without_a_class_needs_a_label() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 0.0]], None), ([[1.0]], None)])
    answer = verify.certify_through(network, network, BOX)
    assert (answer.status, answer.label) == (Verdict.UNKNOWN, None)
    assert "no class at the center" in answer.reason


def test_a_difference_without_a_bound_is_unknown() -> None:
    layers = [([[1e200, 0.0], [-1e200, 0.0]], None), ([[1e200, -1e200]], None), ([[-1.0]], [1.0])]
    dense, sparse = cx.SparseReLUNetwork(layers), cx.SparseReLUNetwork([*layers[:2], ([[-0.5]], [1.0])])
    answer = verify.certify_through(dense, sparse, BOX, 1)
    assert (answer.status, answer.reason) == (Verdict.UNKNOWN, "The difference of the networks has no finite bound.")


def test_one_target_alone() -> None:
    # Class 1 never wins; class 2 does.
    weight = [[0.0], [0.0], [1.0]]
    dense = cx.SparseReLUNetwork([([[1.0]], None), (weight, [0.5, 0.0, 0.0])])
    box = verify.Box([-1.0], [1.0])
    assert verify.certify_through(dense, dense, box, target=1).status is Verdict.ROBUST
    assert verify.certify_through(dense, dense, box).status is Verdict.UNKNOWN


def test_networks_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="sparse has the sizes 2-3-1; expected 2-4-1"):
        verify.certify_through(zoo.network((2, 4, 1)), zoo.network((2, 3, 1)), BOX)
