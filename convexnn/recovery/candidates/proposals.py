"""Fresh gates: where a neuron that is missing might live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.candidates.gate_fits import Neurons, fit_gates
from convexnn.recovery.layer.problem import Problem

# Inputs of a sparse gate, drawn anew for each: 2 to 7.
ORDERS = (2, 8)

# Gates that are fitted by themselves, and the share of times that it is as gates of two inputs: more may come later.
FITTED_POOL, PAIRS = 60, 0.5

# Gates among which the best are chosen, and how they are made, modulo linear functions or not.
POOL = 300
POOLED = {False: ("sparse", "moment"), True: ("sparse", "moment", "tail")}

# Largest share of the rows that a gate through the tail of a residual is made for.
SHARE_OF_TAIL = 0.2


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
        if self.problem.modulo_linear:
            return self._interaction(count, residual)
        rows, mean = self.problem.rows, residual.mean()
        probe = self._tensor(self.rng.standard_normal(self._n_inputs))
        column = self._moments((rows @ probe)[:, None], residual)[0] - mean * probe
        features = self._drawn(column, count)
        moments = self._moments(rows[:, features], residual)
        moments[torch.arange(count), torch.as_tensor(features)] -= mean
        order = min(ORDERS[1] - 1, self._n_inputs)
        places = moments.abs().topk(order, dim=1).indices.cpu().numpy()
        _, kept = self._few(places, count)
        values = np.take_along_axis(moments.cpu().numpy(), places, axis=1)
        return self._gates_from(places, kept * values * self.rng.choice([-1.0, 1.0], (count, 1)))

    def _interaction(self, count: int, residual: Tensor) -> Tensor:
        """Return gates from the whitened moments of the residual, M = C^-1 E[r z z^T] C^-1 - E[r] C^-1, z = x - mean.

        Of a residual without its linear part, for Gaussian rows of any mean and covariance C, M is again
        sum_j c_j w_j w_j^T (Stein's identity), and for others its entries off the diagonal tell which features meet in
        a neuron. Where a feature takes two values its square is linear and its own entry 0: half of the gates draw it.
        """
        probe = self._tensor(self.rng.standard_normal((self._n_inputs, 1)))
        features = self._drawn(self._whitened_moments(probe, residual)[0], count)
        moments = self._whitened_moments(self._tensor(np.eye(self._n_inputs)[:, features]), residual)
        values = moments.double().cpu().numpy()
        line = np.arange(count)
        typical = np.sort(np.abs(values), axis=1)[:, -2:].mean(axis=1) * np.exp(0.7 * self.rng.standard_normal(count))
        own = np.where(self.rng.random(count) < 0.5, typical * self._sides(count), values[line, features])
        values[line, features] = np.inf
        places = np.argsort(-np.abs(values), axis=1)[:, : min(ORDERS[1] - 1, self._n_inputs)]
        values[line, features] = own
        _, kept = self._few(places, count)
        return self._gates_from(places, kept * np.take_along_axis(values, places, axis=1) * self._sides(count)[:, None])

    def _whitened_moments(self, directions: Tensor, residual: Tensor) -> Tensor:
        """Return (M directions)^T for directions (d, c), M as above."""
        rows = self.problem.whitened
        products = ((rows @ directions) * residual[:, None]).T @ rows / len(residual)
        return products - residual.mean() * (self.problem.inverse_covariance @ directions).T

    def tail(self, count: int, residual: Tensor) -> Tensor:
        """Return gates through the rows where the residual is large: the neurons that few rows tell from a linear one.

        Of some rows with the largest residuals of one sign, the features that lie furthest from their means, and on
        these either the least squares fit of the residuals, or that of the rows against all others.
        """
        gates = self._tensor(np.zeros((count, self._n_inputs)))
        for gate in gates:
            values = residual if self.rng.random() < 0.5 else -residual
            top = self._largest(values)
            shift = values[top].clamp(min=0.0) @ (self.problem.rows[top] - self.problem.rows.mean(0))
            order = min(int(self.rng.integers(1, ORDERS[1])), len(top), self._n_inputs)
            places = (shift / self.problem.spread).abs().topk(order).indices
            fit = _regress if self.rng.random() < 0.5 else _separate
            gate[places] = fit(self.problem.rows[:, places], values, top)
        return gates

    def _largest(self, values: Tensor) -> Tensor:
        """Return the indices of the largest of some values (n,): 3 to a fifth of all, of 7 in 10 drawn at random."""
        n_rows = len(values)
        size = min(n_rows, 3 + int(np.exp(self.rng.uniform(0.0, np.log(max(2.0, SHARE_OF_TAIL * n_rows))))))
        drawn = torch.as_tensor(self.rng.random(n_rows) < 0.7, device=values.device)
        return torch.where(drawn, values, -torch.inf).topk(size).indices

    def priced(self, count: int, residual: Tensor) -> Tensor:
        """Return the best of a pool of gates, by the correlations of their own columns with the residual."""
        singles = (
            np.concatenate([np.eye(self._n_inputs), -np.eye(self._n_inputs)]) if 2 * self._n_inputs <= POOL else None
        )
        first = self.single(POOL, residual) if singles is None else self._tensor(singles)
        pool = torch.cat([first, self.mixed(POOLED[self.problem.modulo_linear], POOL // 2, residual)])
        active = (self.problem.linear(pool) > 0.0).to(pool.dtype).T
        norms = self.problem.column_squares(active).sqrt_()
        slopes = (active * residual) @ self.problem.rows
        if self.problem.correlated:
            slopes, norms = slopes @ self.problem.precision, norms / self.problem.own_shares
        own = torch.where((pool != 0.0) & (norms > 0.0), slopes / norms, 0.0)
        score = own.square().sum(1) / (pool != 0.0).sum(1).clamp(min=1)
        return pool[score.topk(min(count, len(pool))).indices]

    def fitted(self, count: int, residual: Tensor, side: float | None) -> Neurons:
        """Return the best of a pool, each fitted to the residual by itself, of one sign if one is given."""
        pool = self.mixed(POOLED[True], FITTED_POOL, residual)
        order = ORDERS[0] if self.rng.random() < PAIRS else int(self.rng.integers(*ORDERS))
        return fit_gates(self.problem, pool, order, residual).distinct(count, side)

    @property
    def _n_inputs(self) -> int:
        return self.problem.rows.shape[1]

    def _drawn(self, column: Tensor, count: int) -> np.ndarray:
        """Return features drawn in proportion to the squares of a column (d,)."""
        energy = column.double().square().cpu().numpy()
        # Where weights run away even the squares of moments are not finite: any column will do.
        total = energy.sum()
        return self.rng.choice(self._n_inputs, size=count, p=energy / total if 0.0 < total < np.inf else None)

    def _sides(self, count: int) -> np.ndarray:
        return self.rng.choice([-1.0, 1.0], count)

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


def _regress(rows: Tensor, values: Tensor, top: Tensor) -> Tensor:
    """Return the least squares fit (k,) of values (n,) on the rows `top` of (n, k)."""
    return _solve(rows[top].T @ rows[top], rows[top].T @ values[top])


def _separate(rows: Tensor, values: Tensor, top: Tensor) -> Tensor:
    """Return the least squares fit (k,) of +1 on the rows `top` and -1 on the others, at equal weight."""
    inner, whole = rows[top].mean(0), rows.mean(0)
    share = len(top) / len(rows)
    outer = (whole - share * inner) / max(1.0 - share, 1e-12)
    near = rows[top].T @ rows[top] / len(top)
    far = (rows.T @ rows / len(rows) - share * near) / max(1.0 - share, 1e-12)
    return _solve(near + far, inner - outer)


def _solve(moments: Tensor, slope: Tensor) -> Tensor:
    return (torch.linalg.pinv(moments.double(), rtol=1e-9, hermitian=True) @ slope.double()).to(slope.dtype)


KINDS: dict[str, Callable[[Proposals, int, Tensor], Tensor]] = {
    "dense": Proposals.dense,
    "single": Proposals.single,
    "sparse": Proposals.sparse,
    "moment": Proposals.moment,
    "tail": Proposals.tail,
}
