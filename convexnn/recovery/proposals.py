"""Fresh gates: where a neuron that is missing might live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.problem import Problem

# Inputs of a sparse gate, drawn anew for each: 2 to 7.
ORDERS = (2, 8)

# Gates among which the best are chosen.
POOL = 300


@dataclass(frozen=True, eq=False)
class Proposals:
    """Ways to make gates for a problem; randomness comes from one generator."""

    problem: Problem
    rng: np.random.Generator

    def mixed(self, kinds: tuple[str, ...], count: int, residual: Tensor) -> Tensor:
        """Return `count` gates (count, d), each of a random one of the `kinds`; the residual is (n,)."""
        share = self.rng.multinomial(count, np.full(len(kinds), 1.0 / len(kinds)))
        return torch.cat([KINDS[kind](self, int(number), residual) for kind, number in zip(kinds, share, strict=True)])

    def dense(self, count: int, residual: Tensor) -> Tensor:
        """Return Gaussian gates."""
        return self._tensor(self.rng.standard_normal((count, self._n_inputs)))

    def single(self, count: int, residual: Tensor) -> Tensor:
        """Return gates of one feature, plus or minus."""
        return self._gates_from(
            self.rng.integers(self._n_inputs, size=(count, 1)), self.rng.choice([-1.0, 1.0], (count, 1))
        )

    def sparse(self, count: int, residual: Tensor) -> Tensor:
        """Return Gaussian gates of a few features, drawn at random."""
        places, kept = self._few(self.rng.integers(self._n_inputs, size=(count, ORDERS[1] - 1)), count)
        return self._gates_from(places, kept * self.rng.standard_normal(places.shape))

    def moment(self, count: int, residual: Tensor) -> Tensor:
        """Return gates from the second moments of the residual, M = X^T diag(r) X / n - mean(r) I.

        For Gaussian rows M is sum_j c_j w_j w_j^T over the neurons that are missing, so the largest entries of one of
        its columns point along one of them (with the linear part's, elsewhere a heuristic). Columns are drawn by an
        estimate of their squared norms from one random vector.
        """
        if not count:
            return self._tensor(np.zeros((0, self._n_inputs)))
        rows, mean = self.problem.rows, residual.mean()
        probe = self._tensor(self.rng.standard_normal(self._n_inputs))
        column = self._moments((rows @ probe)[:, None], residual)[0] - mean * probe
        energy = column.double().square().cpu().numpy()
        # Where weights run away even the squares of moments are not finite: any column will do.
        total = energy.sum()
        chances = energy / total if 0.0 < total < np.inf else None
        features = self.rng.choice(self._n_inputs, size=count, p=chances)
        moments = self._moments(rows[:, features], residual)
        moments[torch.arange(count), torch.as_tensor(features)] -= mean
        order = min(ORDERS[1] - 1, self._n_inputs)
        places = moments.abs().topk(order, dim=1).indices.cpu().numpy()
        _, kept = self._few(places, count)
        values = np.take_along_axis(moments.cpu().numpy(), places, axis=1)
        return self._gates_from(places, kept * values * self.rng.choice([-1.0, 1.0], (count, 1)))

    def priced(self, count: int, residual: Tensor) -> Tensor:
        """Return the best of a pool of gates, by the correlations of their own columns with the residual."""
        singles = (
            np.concatenate([np.eye(self._n_inputs), -np.eye(self._n_inputs)]) if 2 * self._n_inputs <= POOL else None
        )
        first = self.single(POOL, residual) if singles is None else self._tensor(singles)
        pool = torch.cat([first, self.mixed(("sparse", "moment"), POOL // 2, residual)])
        active = (self.problem.linear(pool) > 0.0).to(pool.dtype).T
        norms = (active @ self.problem.squares).sqrt_()
        slopes = (active * residual) @ self.problem.rows
        own = torch.where((pool != 0.0) & (norms > 0.0), slopes / norms, 0.0)
        score = own.square().sum(1) / (pool != 0.0).sum(1).clamp(min=1)
        return pool[score.topk(min(count, len(pool))).indices]

    @property
    def _n_inputs(self) -> int:
        return self.problem.rows.shape[1]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.problem.rows.dtype, device=self.problem.rows.device)

    def _moments(self, directions: Tensor, residual: Tensor) -> Tensor:
        """Return (X^T diag(r) directions / n)^T for directions (n, c)."""
        return (directions * residual[:, None]).T @ self.problem.rows / len(residual)

    def _few(self, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places and which of them are kept: the first few, a random number of them."""
        orders = self.rng.integers(*ORDERS, size=(count, 1))
        return places, np.arange(places.shape[1]) < orders

    def _gates_from(self, places: np.ndarray, values: np.ndarray) -> Tensor:
        gates = np.zeros((len(places), self._n_inputs))
        np.add.at(gates, (np.arange(len(places))[:, None], places), values)
        return self._tensor(gates)


KINDS: dict[str, Callable[[Proposals, int, Tensor], Tensor]] = {
    "dense": Proposals.dense,
    "single": Proposals.single,
    "sparse": Proposals.sparse,
    "moment": Proposals.moment,
}
