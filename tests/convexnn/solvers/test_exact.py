"""The exact solver and its kernels against brute force, at the end and at any early stop."""

from __future__ import annotations

import sys
from functools import cache
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import convexnn as cx
from convexnn.checks import Floats
from convexnn.solvers.common.descent import Progress
from convexnn.solvers.subset.best_subset import SubsetProgress, best_subset
from convexnn.solvers.subset.exact import exact
from convexnn.solvers.subset.indefinite_subsets import indefinite_subsets
from convexnn.solvers.subset.subset_problem import SubsetProblem
from convexnn.solvers.thresholding.niht import niht
from tests.helpers import zoo

Groups = NDArray[np.int64]


def brute(A: Floats, y: Floats, size: int, groups: Groups | None = None, cap: int = 0) -> float:
    """Return the best objective over every support of at most `size` columns, at most `cap` in a group."""
    norms = np.linalg.norm(A, axis=0)
    unit, best = A / np.where(norms > 0.0, norms, 1.0), float(y @ y)
    for count in range(1, size + 1):
        supports = np.array(list(combinations(range(A.shape[1]), count)))
        if groups is not None:
            full = (groups[supports][:, :, None] == np.unique(groups)).sum(axis=1).max(axis=1) > cap
            supports = supports[~full]
        basis, sizes, _ = np.linalg.svd(unit[:, supports].transpose(1, 0, 2), full_matrices=False)
        shares = np.where(sizes > 1e-9, np.einsum("cns,n->cs", basis, y), 0.0)
        best = min(best, float(y @ y) - float(np.square(shares).sum(axis=1).max(initial=0.0)))
    return best / (2 * len(y))


def gated(n: int, d: int, gates: int, rng: np.random.Generator) -> Floats:
    """Return [D_1 X, ..., D_m X], the gates in opposite pairs after a linear block: D X + (I - D) X = X."""
    X = rng.standard_normal((n, d))
    halves = [X * (sign * (X @ rng.standard_normal(d)) >= 0.0)[:, None] for sign in (1, -1) for _ in range(gates)]
    return np.concatenate([X, *halves], axis=1)


def instance(kind: str, seed: int) -> tuple[Floats, Floats, int]:
    """Return columns, target and size of a tiny instance."""
    rng = np.random.default_rng(seed)
    A, size = rng.standard_normal((20, 10)), int(rng.integers(1, 6))
    y = A[:, :3] @ np.array([1.0, -0.5, 0.2]) + 0.2 * rng.standard_normal(20)
    if kind == "duplicates":
        A[:, 4], A[:, 5], A[:, 6] = A[:, 0], -3.0 * A[:, 1], 0.0
    if kind == "dependent":
        A = gated(20, 2, 2, rng)
        y = A @ rng.standard_normal(10) + rng.standard_normal(20)
    if kind == "close":
        A[:, 4] = A[:, 0] + 1e-4 * A[:, 4]
    if kind == "wide":
        A, y = A[:6], y[:6]
    if kind == "all":
        size = 10
    if kind == "exact fit":
        y = A[:, :size] @ rng.choice([-1.0, 1.0], size)
    if kind == "orthogonal":
        y -= A @ np.linalg.lstsq(A, y, rcond=None)[0]
    if kind == "coherent":
        A = rng.standard_normal((20, 1)) + 0.1 * A
    if kind == "units":
        A, y = A * 10.0 ** rng.uniform(-6, 6, 10), y * 1e-6
    return A, y, size


@cache
def optimum_of(kind: str, seed: int) -> float:
    """Return the objective of the best subset of an instance."""
    return zoo.best_subset(*instance(kind, seed))


KINDS = (
    "plain",
    "duplicates",
    "dependent",
    "close",
    "wide",
    "all",
    "exact fit",
    "orthogonal",
    "coherent",
    "units",
    "noise",
)


@pytest.fixture(params=[False, True], ids=["heuristic", "no heuristic"])
def _heuristic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its heuristic the search must find the optimum itself, so its proofs are put to work."""
    if request.param:
        monkeypatch.setattr(SubsetProblem, "polished", lambda self, support, until: tuple(support))


@pytest.mark.usefixtures("_heuristic")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KINDS)
class TestBruteForce:
    def test_the_answer_is_the_optimum(self, kind: str, seed: int) -> None:
        A, y, size = instance(kind, seed)
        optimum, zero = optimum_of(kind, seed), float(y @ y) / (2 * len(y))
        answer = best_subset(A, y, size)
        assert answer.status is cx.Status.CONVERGED
        assert answer.objective == pytest.approx(optimum, abs=2e-9 * zero)
        assert optimum - 2e-9 * zero <= answer.bound <= optimum + 1e-12 * zero
        assert len(answer.support) == len(answer.weights) <= size
        residual = A[:, answer.support] @ answer.weights - y
        assert residual @ residual / (2 * len(y)) == pytest.approx(answer.objective, rel=1e-9)

    def test_a_cap_on_each_group_is_kept_and_optimal(self, kind: str, seed: int) -> None:
        A, y, size = instance(kind, seed)
        groups: Groups = np.random.default_rng(seed).integers(0, 4, size=(A.shape[1],))
        cap = 1 + seed % 2
        optimum, zero = brute(A, y, size, groups, cap), float(y @ y) / (2 * len(y))
        answer = best_subset(A, y, size, groups=groups, per_group=cap, start=range(10))
        assert answer.objective == pytest.approx(optimum, abs=2e-9 * zero)
        assert answer.bound <= optimum + 1e-12 * zero
        assert np.bincount(groups[answer.support], minlength=1).max() <= cap

    @pytest.mark.parametrize("limit", ["no nodes", "one node", "no time", "interrupt"])
    def test_an_early_stop_leaves_a_valid_bound(self, kind: str, seed: int, limit: str) -> None:
        A, y, size = instance(kind, seed)

        def interrupt(progress: SubsetProgress) -> None:
            raise KeyboardInterrupt

        options: dict[str, dict[str, Any]] = {
            "no nodes": {"max_nodes": 0},
            "one node": {"max_nodes": 1},
            "no time": {"time_limit": 0.0},
            "interrupt": {"callback": interrupt},
        }
        answer = best_subset(A, y, size, **options[limit])
        optimum, zero = optimum_of(kind, seed), float(y @ y) / (2 * len(y))
        assert answer.bound <= optimum + 1e-12 * zero
        assert answer.objective >= optimum - 1e-12 * zero
        if answer.status is cx.Status.CONVERGED:
            assert answer.objective <= optimum + 2e-9 * zero


@cache
def gated_instance(rows: int, noise: float, seed: int) -> tuple[Floats, Floats, float]:
    """Return gated columns, a target, and the best objective of 5 columns."""
    rng = np.random.default_rng(seed)
    A = gated(rows, 4, 2, rng)
    signal = A[:, rng.choice(20, 5, replace=False)] @ rng.standard_normal(5)
    y = signal + noise * signal.std() * rng.standard_normal(rows)
    return A, y, brute(A, y, 5)


@pytest.mark.usefixtures("_heuristic")
@pytest.mark.parametrize("rows", [12, 18, 60])
@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_gated_columns_are_solved_whether_tall_or_wide(rows: int, noise: float, seed: int) -> None:
    A, y, optimum = gated_instance(rows, noise, seed)
    seen: list[SubsetProgress] = []
    answer = best_subset(A, y, 5, callback=seen.append)
    zero = float(y @ y) / (2 * rows)
    assert answer.objective == pytest.approx(optimum, abs=2e-9 * zero)
    assert all(progress.bound <= optimum + 1e-12 * zero for progress in seen)


@pytest.mark.usefixtures("_heuristic")
@pytest.mark.parametrize("cap", [1, 2])
def test_two_columns_of_a_group_that_explain_all_together_and_little_alone(cap: int) -> None:
    A, y = np.random.default_rng(0).standard_normal((12, 6)), np.eye(12)[0]
    A[:, 1] = A[:, 0] + 0.1 * y
    groups = np.array([0, 0, 1, 1, 2, 2])
    answer = best_subset(A, y, 3, groups=groups, per_group=cap)
    assert answer.objective == pytest.approx(brute(A, y, 3, groups, cap), abs=1e-10)
    assert (answer.objective < 1e-10) == (cap == 2)


@pytest.fixture(params=[False, True], ids=["plain", "capped"])
def _spectrum(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices are not worth an eigendecomposition; here they get one, and every cap."""
    if request.param:
        monkeypatch.setattr("convexnn.solvers.subset.indefinite_subsets.WORTH_AT_FOUR", -1)
        monkeypatch.setattr("convexnn.solvers.subset.indefinite_subsets.WORTH_BEYOND", -1)


@cache
def gains_of(seed: int, size: int) -> tuple[Floats, Floats, list[list[int]], Floats]:
    """Return a Gram matrix, slopes, all sets of at most `size` columns, and what each of them explains."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((14, 9)) + rng.uniform(0, 0.7) * rng.standard_normal((14, 1))
    gram, slopes = A.T @ A, A.T @ rng.standard_normal(14)
    sets = [list(chosen) for count in range(1, size + 1) for chosen in combinations(range(9), count)]
    return gram, slopes, sets, np.array([slopes[T] @ np.linalg.solve(gram[np.ix_(T, T)], slopes[T]) for T in sets])


@pytest.mark.usefixtures("_spectrum")
@pytest.mark.parametrize("factor", [1 + 1e-6, 0.999, 0.9])
@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("seed", range(8))
def test_no_indefinite_submatrix_is_missed_and_none_is_made_up(seed: int, size: int, factor: float) -> None:
    gram, slopes, sets, gains = gains_of(seed, size)
    needed = max(factor * gains.max(), 1.01 * gains[:9].max())
    matrix = needed * gram - np.outer(slopes, slopes)
    matrix /= np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    barred = np.zeros((9, 9), dtype=bool)
    barred[0, 1] = barred[1, 0] = seed % 4 == 0
    yielded = indefinite_subsets(matrix, size, barred, lambda: None)
    found = [frozenset(chosen) for batch in yielded for chosen in batch.tolist()]
    bad = [set(T) for T, gain in zip(sets, gains, strict=True) if gain >= needed and not barred[np.ix_(T, T)].any()]
    assert all(any(small <= T for small in found) for T in bad)
    for chosen in map(sorted, found):
        assert len(chosen) <= size
        assert not barred[np.ix_(chosen, chosen)].any()
        assert np.linalg.eigvalsh(matrix[np.ix_(chosen, chosen)])[0] <= 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), exponents=st.lists(st.integers(-20, 20), min_size=9, max_size=9))
def test_the_units_of_the_columns_change_nothing(seed: int, exponents: list[int]) -> None:
    rng = np.random.default_rng(seed)
    A, y, units = rng.standard_normal((15, 8)), rng.standard_normal(15), 2.0 ** np.array(exponents)
    plain, scaled = best_subset(A, y, 3), best_subset(A * units[1:], y * units[0], 3)
    assert np.array_equal(plain.support, scaled.support)
    assert scaled.objective == pytest.approx(plain.objective * units[0] ** 2, rel=1e-12)
    assert scaled.bound == pytest.approx(plain.bound * units[0] ** 2, rel=1e-9)


def test_a_better_support_than_the_one_given_is_told_to_the_callback_with_a_rising_bound() -> None:
    rng = np.random.default_rng(3)
    A, y = rng.standard_normal((60, 40)), rng.standard_normal(60)
    seen: list[SubsetProgress] = []
    answer = best_subset(A, y, 8, start=range(8), max_nodes=30, callback=seen.append)
    bounds, objectives = np.array([s.bound for s in seen]), np.array([s.objective for s in seen])
    assert [s.iteration for s in seen] == list(range(1, answer.nodes + 1))
    assert (np.diff(bounds) >= 0.0).all()
    assert (np.diff(objectives) <= 0.0).all()
    assert (bounds <= objectives).all()
    assert answer.bound == bounds[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size is 0; expected a whole number of at least 1"),
        ({"y": np.ones(3)}, r"y has shape \(3,\)"),
        ({"groups": np.zeros(4)}, "one of groups and per_group is given; expected both or neither"),
        ({"groups": -np.ones(4), "per_group": 1}, "groups holds"),
        ({"per_group": 0, "groups": np.zeros(4)}, "per_group is 0"),
        ({"time_limit": -1.0}, "time_limit is -1.0"),
        ({"max_nodes": -1}, "max_nodes is -1"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"A": np.eye(5)[:, :4], "y": np.ones(5), "size": 2} | change
    with pytest.raises(ValueError, match=message) as caught:
        best_subset(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("y", [np.zeros(4), np.ones(4)])
def test_nothing_to_fit_is_no_support(y: Floats) -> None:
    answer = best_subset(np.zeros((4, 2)), y, 1)
    assert not len(answer.support)
    assert answer.objective == answer.bound == float(y @ y) / 8


X, Y = zoo.data(14, 3)


def program(kind: str = "gaussian", budget: int = 3, per_neuron: int | None = None) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X, kind, count=4), budget=budget, budget_per_neuron=per_neuron)


@pytest.mark.parametrize("kind", zoo.KINDS)
class TestPrograms:
    def test_the_solution_is_proven_and_heuristics_are_not_better(self, kind: str) -> None:
        asked = program(kind)
        solution = exact(asked)
        optimum = zoo.best_subset(zoo.dense_matrix(X, asked.patterns), Y, 3)
        zero = float(Y @ Y) / (2 * len(Y))
        assert solution.objective == pytest.approx(optimum, abs=2e-9 * zero)
        assert solution.gap is not None
        assert 0.0 <= solution.gap <= 2e-9 * zero
        assert solution.status is cx.Status.CONVERGED
        assert solution.nnz <= 3
        assert not solution.weights[~asked.patterns.features].any()
        assert len(solution.history) == solution.iterations
        assert niht(asked).objective >= solution.objective - 1e-12

    def test_an_early_stop_is_no_exception(self, kind: str) -> None:
        asked = program(kind)
        optimum = zoo.best_subset(zoo.dense_matrix(X, asked.patterns), Y, 3)

        def interrupt(progress: Progress) -> None:
            raise KeyboardInterrupt

        for solution in (
            exact(asked, time_limit=0.0),
            exact(asked, max_nodes=0),
            exact(asked, callback=interrupt),
        ):
            assert solution.gap is not None
            assert solution.objective - solution.gap <= optimum + 1e-12
            assert solution.objective >= optimum - 1e-12
            assert solution.nnz <= 3


@pytest.mark.parametrize("stage", ["niht", "columns", "best_subset"])
def test_an_interrupt_before_the_tree_returns_the_heuristic(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    asked, heuristic = program(), niht(program(), whiten=False)
    if stage == "niht":
        monkeypatch.setattr("convexnn.solvers.thresholding.niht.niht_step", stop)
        heuristic = niht(asked, whiten=False)
    elif stage == "best_subset":
        monkeypatch.setattr("convexnn.solvers.subset.best_subset.working_form", stop)
    else:
        monkeypatch.setattr("convexnn.solvers.subset.exact._columns", stop)
    solution = exact(asked)
    assert solution.status is cx.Status.INTERRUPTED
    assert solution.objective == solution.gap == pytest.approx(heuristic.objective)


def test_a_cap_on_the_neurons_is_asked_of_the_tree() -> None:
    asked = program(budget=4, per_neuron=1)
    solution = exact(asked)
    gates = solution.support // 3
    assert len(np.unique(gates)) == len(gates)
    A = zoo.dense_matrix(X, asked.patterns)
    assert solution.objective == pytest.approx(brute(A, Y, 4, np.arange(A.shape[1]) // 3, 1), rel=1e-9)


def test_programs_it_cannot_do_are_refused() -> None:
    penalised = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=0.1)
    labels = cx.ConvexProgram(X, np.sign(Y), zoo.patterns(X), loss="logistic", budget=2)
    for asked in (penalised, labels):
        with pytest.raises(ValueError, match="solver 'exact' needs a budget, squared loss, one output"):
            cx.solve(asked, "exact")
    with pytest.raises(ValueError, match="engine 'cplex' is unknown; expected one of: auto, branch_and_bound, gurobi"):
        exact(program(), engine="cplex")
    with pytest.raises(ImportError, match="engine 'gurobi' needs the package gurobipy"):
        exact(program(), engine="gurobi")


class FakeVariables(list[Any]):
    """As many variables as asked for; each knows its index."""

    def __init__(self, count: int) -> None:
        super().__init__(SimpleNamespace(item=lambda index=index: index) for index in range(count))


class FakeModel:
    """Gurobi by enumeration: what is asked through its interface is solved by trying every support."""

    failure: Exception | None = None

    def __init__(self) -> None:
        self.Params, self.variables = SimpleNamespace(), list[FakeVariables]()
        self.switched, self.rows = set[tuple[int, bool, int, str, float]](), list[tuple[Floats, Floats]]()

    def addMVar(self, count: int, **options: object) -> FakeVariables:
        self.variables.append(FakeVariables(count))
        return self.variables[-1]

    def addGenConstrIndicator(self, *constraint: Any) -> None:
        self.switched.add(constraint)

    def addMConstr(self, rows: Floats, variables: FakeVariables, sense: str, limits: Floats) -> None:
        assert variables is self.variables[1]
        assert sense == "<"
        self.rows.append((rows, limits))

    def setMObjective(self, *objective: Any, xQ_L: Any, xQ_R: Any, xc: Any, sense: str) -> None:
        assert xQ_L is xQ_R is xc is self.variables[0]
        assert sense == "minimise"
        self.objective = objective

    def optimize(self) -> None:
        if self.failure:
            raise self.failure
        if self.Params.TimeLimit == 0.0:
            self.ObjBound, self.NodeCount, self.Status, self.SolCount = -np.inf, 0.0, 9, 0
            return
        (gram, linear, constant), count = self.objective, len(self.variables[0])
        assert self.switched == {(index, False, index, "=", 0.0) for index in range(count)}
        rows, limits = (np.concatenate(parts) for parts in zip(*self.rows, strict=True))
        values = {}
        for size in range(1, 4):
            for chosen in map(list, combinations(range(count), size)):
                if (rows[:, chosen].sum(axis=1) <= limits).all():
                    weights = np.linalg.lstsq(gram[np.ix_(chosen, chosen)], -0.5 * linear[chosen], rcond=None)[0]
                    values[tuple(chosen)] = constant + 0.5 * float(linear[chosen] @ weights)
        best = min(values, key=values.__getitem__)
        self.variables[1].X = np.isin(np.arange(count), best).astype(float)  # type: ignore[attr-defined]
        self.ObjBound, self.NodeCount, self.Status, self.SolCount = values[best], 7.0, 2, 1


@pytest.fixture
def _gurobi(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = SimpleNamespace(
        INFINITY=1e100, BINARY="B", EQUAL="=", MINIMIZE="minimise", OPTIMAL=2, TIME_LIMIT=9, INTERRUPTED=11
    )
    fake = SimpleNamespace(GRB=constants, Model=FakeModel, GurobiError=OSError)
    monkeypatch.setitem(sys.modules, "gurobipy", fake)


@pytest.mark.usefixtures("_gurobi")
def test_gurobi_is_asked_the_same_question() -> None:
    asked = program()
    ours, theirs = exact(asked), exact(asked, engine="gurobi")
    assert np.array_equal(ours.support, theirs.support)
    assert theirs.solver == "exact (gurobi)"
    assert theirs.iterations == 7
    assert theirs.status is cx.Status.CONVERGED
    asked = program(per_neuron=1)
    assert np.array_equal(exact(asked).support, exact(asked, engine="gurobi").support)


@pytest.mark.usefixtures("_gurobi")
def test_gurobi_without_a_point_leaves_that_of_the_heuristic() -> None:
    asked = program()
    solution = exact(asked, engine="gurobi", time_limit=0.0)
    assert solution.status is cx.Status.TIME_LIMIT
    assert solution.objective == solution.gap == niht(asked, whiten=False, time_limit=0.0).objective


@pytest.mark.usefixtures("_gurobi")
def test_the_words_of_gurobi_are_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeModel, "failure", OSError("Model too large for size-limited license"))
    with pytest.raises(RuntimeError, match="gurobi failed: Model too large"):
        exact(program(), engine="gurobi")


def test_a_feature_far_from_zero_is_not_proven_wrongly() -> None:
    # The column and the ones are 1e-7 apart as unit vectors: left out as parallel, they hold the solution together.
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(40)
    for offset in (1e5, 1e6, 1e7):
        rows = np.column_stack([offset + noise, rng.standard_normal((40, 2))])
        gates = cx.sample_patterns(rows, generators=[[1.0, 1e-9, 1e-9, 1.0]], bias=True)
        solution = cx.solve(cx.ConvexProgram(rows, noise + 0.01 * rows[:, 1], gates, budget=2), "exact")
        both = np.column_stack([rows[:, 0], np.ones(40)])
        rest = both @ np.linalg.lstsq(both, solution.program.y, rcond=None)[0] - solution.program.y
        assert solution.gap is not None
        assert solution.objective - solution.gap <= float(rest @ rest) / 80 * (1 + 1e-9)
        assert (solution.status is cx.Status.CONVERGED) == (solution.gap <= 1e-6 * solution.program.zero_loss)
