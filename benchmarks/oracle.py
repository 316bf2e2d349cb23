"""Hold every question against z3, which answers in rational arithmetic, on random small networks with exact ties.

    python benchmarks/oracle.py [--questions 3000] [--seed 0] [--backends auto branching ...] [--asked attack ...]

Networks of 1 to 20 layers and 1 to 4 inputs, weights of few bits, ties and zeros among them, scales of 1e-8 to 1e6;
boxes, single inputs, balls of three norms, with and without linear constraints; limits of 0 to 5 s; every backend that
is installed. A witness is evaluated in fractions; a proof or a bound is wrong where z3 finds an input of the region
beyond it. Over an L2 ball z3 searches polytopes inside it, then the ball for a moment. What rests on an engine
(solver-tolerance) may be off by what its result states. Needs z3: pip install z3-solver.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from time import perf_counter, process_time
from typing import Any

import numpy as np

try:
    import z3
except ImportError:
    raise SystemExit("z3 is not installed; expected it as the oracle (pip install z3-solver)") from None

from oracle_cases import KINDS, drawn_network, drawn_property, drawn_region, tied, vnnlib_text
from oracle_truth import Truth, dot, inside, number, outputs_at, total, within

import verify
from convexnn.checks import Floats
from verify import Holding, Nearness, Proof, Status, Verdict
from verify.backends.registry import BACKENDS

LIMITS = (0.0, 0.05, 0.3, 1.0, 1.0, 5.0)

# Milliseconds of z3 for one answer, and what a value in float64 may be off by, as a share of the sums it is made of.
PATIENCE, ROUNDING = 1500, 1e-9

RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


class Case:
    """One network over one region, and what is asked with which backend and limit."""

    def __init__(self, kind: str, backend: str, rng: np.random.Generator) -> None:
        self.kind, self.rng = kind, rng
        self.network = drawn_network(rng)
        self.region = drawn_region(kind, self.network.n_inputs, rng)
        self.options: dict[str, Any] = {"backend": backend, "time_limit": float(rng.choice(LIMITS))}
        self.notes: list[str] = []

    @property
    def truth(self) -> Truth:
        return Truth(self.network, self.region, self.kind, PATIENCE)

    def margins(self, label: int) -> list[Floats]:
        """Return the functions that are positive where an input is misclassified."""
        count = self.network.n_outputs
        if count == 1:
            return [np.array([-float(label)])]
        return [np.eye(count)[other] - np.eye(count)[label] for other in range(count) if other != label]

    def tie(self) -> None:
        """Move a bias so that two outputs tie, or one is 0, at some corner of the region, half of the time."""
        if self.rng.random() < 0.5:
            label = 1 if self.network.n_outputs == 1 else 0
            self.network = tied(self.network, self.region, self.margins(label)[0], self.rng)

    def must(self, holds: bool | None, words: str) -> None:
        """Keep what is wrong; None is an oracle that is silent."""
        if holds is None:
            self.notes.append("silent")
        elif not holds:
            self.notes.append(f"WRONG: {words}")

    def beyond(self, row: Floats, level: float, strict: bool = True) -> bool | None:
        """Return whether z3 finds row . outputs above a level somewhere, None where it does not say."""
        if not np.isfinite(level):
            return False if level > 0 else None
        truth = self.truth
        return truth.exists(total(row, truth.outputs, 0.0) > number(level))

    def none_beyond(self, row: Floats, level: float, words: str) -> None:
        found = self.beyond(row, level)
        self.must(None if found is None else not found, f"{words}: z3 finds more than {level!r}")

    def reach(self, row: Floats) -> float:
        """Return the sum of magnitudes that row . outputs is made of over the region."""
        hidden = self.region.reach
        for weight, bias in self.network.layers:
            hidden = abs(weight) @ hidden + np.abs(bias)
        return float(np.abs(row) @ hidden)


def attack(case: Case) -> str:
    """Ask for an adversarial input, of any class or of one."""
    case.tie()
    count = case.network.n_outputs
    label = int(case.rng.choice([-1, 1] if count == 1 else range(count)))
    others = [-label] if count == 1 else [other for other in range(count) if other != label]
    target = int(case.rng.choice(others)) if case.rng.random() < 0.3 else None
    answer = verify.find_adversarial(case.network, case.region, label, target=target, **case.options)
    every = case.margins(label)
    rows = every if target is None else [every[others.index(target)]]
    if answer.witness is not None:
        case.must(inside(case.region, case.kind, answer.witness), "the witness is outside")
        values = outputs_at(case.network, answer.witness)
        case.must(max(dot(row, values) for row in rows) > 0, "the witness is none")
    elif answer.status is Verdict.MISCLASSIFIED:
        values = outputs_at(case.network, case.region.center)
        case.must(max(dot(row, values) for row in every) > 0, "the center is not misclassified")
    # An engine's bound is as good as its tolerances; that it proves the verdict is not.
    level = 0.0 if answer.proof is Proof.SOLVER else answer.bound
    for row in rows:
        case.none_beyond(row, min(level, 0.0) if answer.status is Verdict.ROBUST else level, answer.status.name)
    return answer.status.name + (" tie" if answer.reason.startswith("A tie") else "")


def judge_optimum(case: Case, row: Floats, found: Any, name: str) -> str:
    """Hold one extreme of row . outputs, a maximum, against z3."""
    sign = 1.0 if found.sense == "maximum" else -1.0
    value, bound = sign * found.value, sign * found.bound
    if np.isfinite(value):
        case.must(inside(case.region, case.kind, found.witness), f"{name}: the witness is outside")
        exact = dot(sign * row, outputs_at(case.network, found.witness))
        off = abs(exact - Fraction(value))
        case.must(off <= ROUNDING * case.reach(row) + 1e-300, f"{name}: the value is off by {float(off):.3g}")
    case.none_beyond(sign * row, bound + found.allowance, f"{name} {found.status.name}")
    if found.status is Status.OPTIMAL:
        case.must(bound - value <= found.tolerance + found.allowance, f"{name}: value and bound do not meet")
        case.must(
            found.tolerance <= 2e-6 * max(abs(value), abs(bound)) + 1e-6 * case.reach(row) + 1e-290,
            f"{name}: the tolerance is large",
        )
    return found.status.name


def extreme(case: Case) -> str:
    """Ask for a maximum or a minimum."""
    row = case.rng.integers(-2, 3, case.network.n_outputs).astype(float)
    find = verify.maximize if case.rng.random() < 0.5 else verify.minimize
    return judge_optimum(case, row, find(case.network, case.region, row, **case.options), find.__name__)


def ranges(case: Case) -> str:
    """Ask for the range of every output."""
    found = verify.output_range(case.network, case.region, **case.options)
    eye = np.eye(case.network.n_outputs)
    names = [judge_optimum(case, eye[i], low, f"low {i}") for i, low in enumerate(found.minima)]
    names += [judge_optimum(case, eye[i], high, f"high {i}") for i, high in enumerate(found.maxima)]
    return "OPTIMAL" if set(names) == {"OPTIMAL"} else "LIMIT"


def radius(case: Case) -> str:
    """Ask for the smallest adversarial radius."""
    if not hasattr(case.region.base, "radius"):
        return extreme(case)
    case.tie()
    count = case.network.n_outputs
    label = int(case.rng.choice([-1, 1] if count == 1 else range(count))) if case.rng.random() < 0.5 else None
    found = verify.min_radius(case.network, case.region, label, **case.options)
    if found.label is None:
        return "tie at the center"
    rows = case.margins(found.label)
    if found.witness is not None:
        point = [Fraction(float(value)) for value in found.witness]
        case.must(inside(case.region, case.kind, found.witness), "the witness is outside")
        case.must(within(case.region, case.kind, point, Fraction(found.upper)), "the witness is farther than `upper`")
        case.must(max(dot(row, outputs_at(case.network, found.witness)) for row in rows) > 0, "the witness is none")
    truth = case.truth
    claim = z3.Or([total(row, truth.outputs, 0.0) > 0 for row in rows])
    # At the radius itself the region is the float64 ball that was asked about.
    nearer = truth.exists(claim, found.lower * (1.0 - 1e-12)) if found.lower > 0.0 else False
    case.must(None if nearer is None else not nearer, f"z3 finds one nearer than {found.lower!r}")
    if found.status is Nearness.FOUND:
        # A tie at the center has witnesses as near as rounding lets them be: so much is allowed there, as it is stated.
        center = case.region.center
        tied = max(dot(row, outputs_at(case.network, center)) for row in rows) == 0
        size = max(float(np.abs(center).max()), float(case.region.base.radius))
        allowed = 1e-3 * found.upper + (2.0**-52 * size if tied else 0.0)
        case.must(found.upper - found.lower <= allowed, "FOUND, and the bounds do not meet")
    return found.status.name


def vnnlib(case: Case) -> str:
    """Ask about a property: disjunctions of conjunctions over a box."""
    if hasattr(case.region, "radius") or hasattr(case.region.base, "radius"):
        case.kind = "cut box" if case.kind.startswith("cut") else "box"
        case.region = drawn_region(case.kind, case.network.n_inputs, case.rng)
    ways = drawn_property(case.network, case.region, case.rng)
    text = vnnlib_text(case.region, ways, case.network.n_outputs)
    found = verify.check_vnnlib(case.network, verify.parse_property(text), **case.options)
    if found.status is Holding.VIOLATED:
        assert found.witness is not None
        values = outputs_at(case.network, found.witness)
        met = any(
            all(
                RELATIONS[relation](dot(row, values), Fraction(level))
                for row, relation, level in zip(way.rows, way.relations, way.levels, strict=True)
            )
            for way in ways
        )
        case.must(inside(case.region, case.kind, found.witness) and met, "the witness is none")
    if found.status is Holding.HOLDS:
        truth = case.truth
        claims = [
            z3.And(
                [
                    RELATIONS[relation](total(row, truth.outputs, 0.0), number(level))
                    for row, relation, level in zip(way.rows, way.relations, way.levels, strict=True)
                ]
            )
            for way in ways
        ]
        met_somewhere = truth.exists(z3.Or(claims))
        case.must(None if met_somewhere is None else not met_somewhere, f"HOLDS, and z3 meets it; {text}")
    return found.status.name + (" tie" if found.reason.startswith("A tie") else "")


def copied(case: Case) -> Any:
    """Return the network without some of its weights."""
    layers = [(weight.multiply(case.rng.random(weight.shape) < 0.9), bias) for weight, bias in case.network.layers]
    return type(case.network)(layers)


def difference(case: Case) -> str:
    """Ask for the difference of a network and a pruned copy."""
    copy, row = copied(case), case.rng.integers(-2, 3, case.network.n_outputs).astype(float)
    found = verify.difference(case.network, copy, case.region, row)
    for sign, level in ((1.0, float(found.upper[0])), (-1.0, -float(found.lower[0]))):
        truth = case.truth
        moved = total(sign * row, truth.outputs, 0.0) - total(sign * row, truth.add(copy, "g"), 0.0)
        more = truth.exists(moved > number(level)) if np.isfinite(level) else False
        case.must(None if more is None else not more, "z3 finds a larger difference")
    return "BOUNDED" if found.finite else "INFINITE"


def transfer(case: Case) -> str:
    """Ask for robustness through a pruned copy."""
    answer = verify.certify_through(case.network, copied(case), case.region, **case.options)
    if answer.status is Verdict.ROBUST and answer.label is not None:
        for row in case.margins(answer.label):
            case.none_beyond(row, 0.0, "ROBUST through a copy")
    return answer.status.name


ASKED: dict[str, Callable[[Case], str]] = {
    "attack": attack,
    "extreme": extreme,
    "range": ranges,
    "radius": radius,
    "vnnlib": vnnlib,
    "difference": difference,
    "transfer": transfer,
}

DECIDED = {"ROBUST", "COUNTEREXAMPLE", "MISCLASSIFIED", "OPTIMAL", "FOUND", "HOLDS", "VIOLATED", "BOUNDED"}


class Table:
    """Counts by question, kind of region and backend."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {}

    def add(self, case: Case, name: str, status: str) -> None:
        """Count one question."""
        verdict = "decided" if status in DECIDED else "tie" if "tie" in status else "open"
        marks = {"wrong": any(note.startswith("WRONG") for note in case.notes), "silent": "silent" in case.notes}
        for group in (("question", name), ("region", case.kind), ("backend", str(case.options["backend"]))):
            found = ["asked", verdict, *(mark for mark, there in marks.items() if there)]
            self.counts.setdefault(group, Counter()).update(found)

    def __str__(self) -> str:
        columns = ("asked", "decided", "tie", "open", "silent", "wrong")
        lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        order = sorted(self.counts, key=lambda group: (("question", "region", "backend").index(group[0]), group[1]))
        for group in order:
            found = self.counts[group]
            lines.append(f"| {group[0]} {group[1]} | " + " | ".join(str(found[name]) for name in columns) + " |")
        return "\n".join(lines)


def main() -> None:
    """Read the command line, ask, and print what was wrong and how much was decided."""
    parser = common.option_parser(__doc__)
    installed = [name for name, backend in BACKENDS.items() if backend.installed]
    parser.add_argument("--questions", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=["auto", "branching", *installed])
    parser.add_argument("--asked", nargs="+", default=list(ASKED), choices=list(ASKED))
    given = parser.parse_args()
    table, wrong, began = Table(), 0, (perf_counter(), process_time())
    for index in range(given.questions):
        rng = np.random.default_rng([given.seed, index])
        name, kind = given.asked[index % len(given.asked)], str(rng.choice(KINDS))
        case = Case(kind, str(rng.choice(given.backends)), rng)
        table.add(case, name, ASKED[name](case))
        verdicts = [note for note in case.notes if note.startswith("WRONG")]
        wrong += bool(verdicts)
        for verdict in verdicts:
            print(f"question {index}: {name} over {case.kind}, {case.options}: {verdict}", flush=True)
    seconds = f"{perf_counter() - began[0]:.0f} s, {process_time() - began[1]:.0f} of CPU"
    print(f"{given.questions} questions, {wrong} wrong; {seconds}\n{table}")


if __name__ == "__main__":
    main()
