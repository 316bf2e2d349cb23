"""Evaluation: certified accuracy over a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_callback, as_rows
from convexnn.network import SparseReLUNetwork
from convexnn.workers import as_jobs, spread
from verify.answers.answer import Answer, Verdict
from verify.answers.evaluation import Evaluation
from verify.answers.replay import original_of
from verify.answers.witness import misclassified_at_center
from verify.bounds.margins import classes_of, margins_of
from verify.questions.find_adversarial import find_adversarial, nothing_known
from verify.questions.resources import INTERRUPTION, answer_of
from verify.reading.read_network import read_simple
from verify.regions.box import Box


def evaluate(
    network: Any,
    X: ArrayLike,
    y: ArrayLike,
    region: Callable[[Floats], Box],
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int = 0,
    model: Any = None,
    n_jobs: int | None = None,
    on_answer: Callable[[int, Answer], None] | None = None,
) -> Evaluation:
    """Ask for every row whether an input of its region is misclassified.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes.
    X : array_like (n, d)
        The rows.
    y : array_like (n,)
        Their true classes: -1 and +1, or 0 and 1, with one output, else 0 to k - 1. Of a classifier with ``classes_``
        its own labels.
    region : callable
        Takes a row (d,), returns the region around it, such as ``lambda x: verify.LinfBall(x, 0.05, clip=(0, 1))``.
    time_limit : float, default 60
        Seconds for each row.
    backend, seed, model
        As in :func:`verify.find_adversarial`.
    n_jobs : int, optional
        Processes that work on rows, -1 for one a core; default what ``joblib.parallel_config`` says around this call
        (so that Dask or Ray may serve), or one, this process.
    on_answer : callable, optional
        Called with the row's number and its answer as soon as it is there, such as for a progress bar.

    Returns
    -------
    Evaluation
        One answer a row. After Ctrl-C the rows not asked about are INTERRUPTED, or MISCLASSIFIED at their centers.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.
    OSError
        A row killed its worker process, or the cluster has gone.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> found = verify.evaluate(network, [[2.0], [1.1], [0.0]], [1, 1, -1], lambda x: verify.LinfBall(x, 0.5))
    >>> found
    <certified accuracy 66.7% over 3 rows>
    """

    def begin() -> _Rows:
        net = read_simple(network)
        rows = as_rows(X, "X", net.n_inputs, "network has inputs")
        labels = _labels(net, y, len(rows), getattr(network, "classes_", None))
        as_callback(on_answer, "on_answer")
        if not callable(region):
            raise TypeError(
                f"region is a {type(region).__name__}; expected a function of a row, such as "
                "lambda x: verify.LinfBall(x, 0.05)"
            )
        regions = [region(row) for row in rows]
        original = original_of(network, model, rows[0])
        options = {"time_limit": time_limit, "backend": backend, "seed": seed, "model": original}
        return _Rows(net, regions, labels, partial(_answers, net, regions, labels, options, as_jobs(n_jobs)), on_answer)

    return answer_of(begin, lambda seconds: Evaluation((nothing_known(None, 0.0),) * len(np.asarray(y)), 0.0))


class _Rows:
    """The rows of a data set, and the answers that are there."""

    def __init__(
        self,
        network: SparseReLUNetwork,
        regions: list[Box],
        labels: list[int],
        ask: Callable[[], Iterator[tuple[int, Answer]]],
        on_answer: Callable[[int, Answer], None] | None,
    ) -> None:
        self.network, self.asked, self.ask, self.on_answer = (
            network,
            list(zip(regions, labels, strict=True)),
            ask,
            on_answer,
        )
        self.answers: dict[int, Answer] = {}

    def decide(self) -> Evaluation:
        """Ask about all rows, up to one that is interrupted."""
        for index, answer in self.ask():
            self.answers[index] = answer
            if self.on_answer is not None:
                self.on_answer(index, answer)
            if answer.status is Verdict.INTERRUPTED:
                break
        return self.by_now()

    def by_now(self) -> Evaluation:
        """Return the answers that are there, and what a look at the centers says of the other rows."""
        every = range(len(self.asked))
        ordered = tuple(
            self.answers[index] if index in self.answers else _unasked(self.network, *self.asked[index])
            for index in every
        )
        return Evaluation(ordered, sum(answer.seconds for answer in ordered))


def _unasked(network: SparseReLUNetwork, region: Box, label: int) -> Answer:
    """Return what a look at the center says of a row that an interruption left out."""
    wrong = misclassified_at_center(margins_of(network, label), region)
    status = Verdict.MISCLASSIFIED if wrong else Verdict.INTERRUPTED
    reason = "The network's class at the center is not the label." if wrong else INTERRUPTION
    return Answer(status, label, None, -np.inf, np.inf, None, reason, 0.0, None, ())


def _labels(network: SparseReLUNetwork, y: ArrayLike, count: int, named: Any) -> list[int]:
    """Return the classes of the network for labels; those that are `named` by a classifier, or 0 and 1, by their place.

    One that is none of these raises ValueError.
    """
    values: NDArray[Any] = np.asarray(y)
    if values.shape != (count,):
        raise ValueError(f"y has shape {values.shape}; expected ({count},), one class per row of X")
    known = classes_of(network)
    names = list(named) if named is not None else [0, 1] if network.n_outputs == 1 else []
    if len(names) == len(known) and all(value in names for value in values.tolist()):
        return [known[names.index(value)] for value in values.tolist()]
    # Places are no labels where a classifier has its own: 1 would be one class or another by what else is in y.
    allowed = known if named is None or len(names) != len(known) else names
    bad = next((index for index, value in enumerate(values.tolist()) if value not in allowed), None)
    if bad is not None:
        span = "-1 or 1, or 0 or 1" if network.n_outputs == 1 else f"0 to {network.n_outputs - 1}"
        span = span if allowed is known else f"one of the classes {', '.join(map(repr, np.asarray(named).tolist()))}"
        raise ValueError(f"y holds {values.tolist()[bad]!r} at index {bad}; expected {span}")
    return [int(value) for value in values]


def _answers(
    network: SparseReLUNetwork, regions: list[Box], labels: list[int], options: dict[str, Any], n_jobs: int | None
) -> Iterator[tuple[int, Answer]]:
    asked = [(network, region, label, options) for region, label in zip(regions, labels, strict=True)]
    return spread(_answer, asked, n_jobs, batch_size="auto")


def _answer(network: SparseReLUNetwork, region: Box, label: int, options: dict[str, Any]) -> Answer:
    return find_adversarial(network, region, label, **options)
