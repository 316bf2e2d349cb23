"""The pattern operator A: the one linear map that every mode of the program is built from."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from convexnn.checks import Floats, as_count, as_known, as_matrix
from convexnn.linear.combination import Combination
from convexnn.linear.masks import hold_masks
from convexnn.patterns.activation_patterns import ActivationPatterns, gate_tiles
from convexnn.tiles import product_tiles, row_tiles, tile_entries

DTYPES = {"float32": torch.float32, "float64": torch.float64}

# Entries of a tile that is made in float64 once, for masks and for the rows themselves.
MASK_ENTRIES = 1 << 17

# Entries of one factor of A A^T: 2^23 float64 are 64 MiB, and the product of such factors is as fast as of larger ones.
GRAM_ENTRIES = 1 << 23


class PatternOperator:
    """The linear map from weights U (m, d) to predictions (n, k), and its adjoint.

    A: U -> ((X U^T) * D) V^T and A^T: R -> (D * (R V))^T X, with masks D = 1{X H^T >= 0} (n, m) and heads V (k, m).
    Both act on the features that each pattern owns: A ignores other entries of U, A^T returns zeros there.
    In :meth:`forward_per_output` and :meth:`adjoint_per_output` each output has blocks of its own, heads are ones.

    Parameters
    ----------
    X : array_like (n, d)
        The data.
    patterns : ActivationPatterns
        m patterns over the same d features.
    heads : array_like (k, m), optional
        V; default ones (1, m): a scalar output with all output signs +1.
    device : str, default "cpu"
        A torch device, such as ``cuda``.
    dtype : {"float32", "float64"}, default "float32"
        Precision of the products; masks are decided in float64 in both.
    memory_limit : int, default 2^30
        Bytes for the masks: on a CPU kept as numbers, else as bytes, within 24 MiB, else as bits within the limit,
        else recomputed tile by tile. Below 32 MiB tiles shrink with it.
    units : array_like (d,), optional
        Feature i enters the products divided by units_i, so weights are those of the scaled features; the masks are
        those of X itself. For features that float32 cannot hold as they are.
    entries : int, optional
        Rows x gates of a tile, at least 64; default by the memory limit.

    Notes
    -----
    Two matrix products each, 2 n m d flops, tiled over rows and gates: no array of n m floats is ever formed.
    """

    def __init__(
        self,
        X: ArrayLike,
        patterns: ActivationPatterns,
        heads: ArrayLike | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        memory_limit: int = 1 << 30,
        units: ArrayLike = 1.0,
        entries: int | None = None,
    ) -> None:
        self.rows = patterns.rows(X)
        self.units = np.asarray(units, dtype=np.float64)
        self.basis: Floats | None = None
        self.dtype = DTYPES[as_known(dtype, "dtype", DTYPES)]
        self.device = as_device(device)
        limit = as_count(memory_limit, "memory_limit", at_least=0)
        self.tile_entries = tile_entries(limit) if entries is None else entries
        self.X = self._scaled_rows()
        self.heads = self.tensor(_heads(heads, len(patterns)))
        self.owned = None if patterns.features.all() else torch.as_tensor(patterns.features, device=self.device)
        tiles = list(product_tiles(len(self.X), slice(0, len(patterns)), min(self.tile_entries, MASK_ENTRIES)))
        self.masks = hold_masks(self.rows, patterns.generators, limit, self.device, tiles, self.dtype)

    @property
    def in_shape(self) -> tuple[int, int]:
        """(m, d), the shape of the weights."""
        return self.heads.shape[1], self.X.shape[1]

    @property
    def size(self) -> int:
        """m d, the number of flat indices j d + i."""
        return int(np.prod(self.in_shape))

    @property
    def out_shape(self) -> tuple[int, int]:
        """(n, k), the shape of the predictions."""
        return self.X.shape[0], self.heads.shape[0]

    def tensor(self, values: ArrayLike) -> Tensor:
        """Return `values` in the dtype and on the device of the operator."""
        return torch.tensor(np.asarray(values), dtype=self.dtype, device=self.device)

    def _scaled_rows(self) -> Tensor:
        """Return the rows over the units; a tile at a time, so that no second float64 array of them is made."""
        result = torch.empty(self.rows.shape, dtype=self.dtype, device=self.device)
        for rows in row_tiles(len(self.rows), self.rows.shape[1], MASK_ENTRIES):
            scaled = self.rows[rows] / self.units
            result[rows] = tile = self.tensor(scaled if self.basis is None else scaled @ self.basis)
            if not tile.isfinite().all():
                kind = str(self.dtype).removeprefix("torch.")
                raise ValueError(f"X has entries beyond the range of {kind}; rescale X, or use dtype='float64'")
        return result

    def forward(self, weights: Tensor) -> Tensor:
        """Return A(U), shape (n, k), for weights U (m, d)."""
        result = self.X.new_zeros(self.out_shape)
        own = weights if self.owned is None else weights * self.owned
        for rows, gates in self._tiles():
            active = (self.X[rows] @ own[gates].T).mul_(self.masks.tile(rows, gates))
            result[rows] += active @ self.heads[:, gates].T
        return result

    def adjoint(self, residual: Tensor) -> Tensor:
        """Return A^T(R), shape (m, d), for a residual R (n, k)."""
        result = self.X.new_zeros(self.in_shape)
        for rows, gates in self._tiles():
            active = (residual[rows] @ self.heads[:, gates]).mul_(self.masks.tile(rows, gates))
            result[gates] += active.T @ self.X[rows]
        return result if self.owned is None else result.mul_(self.owned)

    def forward_per_output(self, pages: Tensor) -> Tensor:
        """Return sum_j D_j X w_jc for every output c, shape (n, k), for weights (k, m, d); the heads are not used."""
        k = len(pages)
        result = self.X.new_zeros((len(self.X), k))
        own = pages if self.owned is None else pages * self.owned
        for rows, gates in self._tiles():
            linear = (self.X[rows] @ own[:, gates].flatten(0, 1).T).unflatten(1, (k, -1))
            result[rows] += linear.mul_(self.masks.tile(rows, gates)[:, None]).sum(2)
        return result

    def adjoint_per_output(self, residual: Tensor, part: slice | None = None) -> Tensor:
        """Return X^T D_j r_c for every gate and output, shape (k, m, d), for a residual R (n, k).

        With `part`, a slice that starts at a multiple of 8, for those gates alone.
        """
        k, asked = residual.shape[1], slice(0, self.in_shape[0]) if part is None else part
        result = self.X.new_zeros((k, asked.stop - asked.start, self.in_shape[1]))
        for rows, gates in self._tiles(asked):
            active = residual[rows][:, :, None] * self.masks.tile(rows, gates)[:, None]
            place = slice(gates.start - asked.start, gates.stop - asked.start)
            result[:, place] += (active.flatten(1).T @ self.X[rows]).unflatten(0, (k, -1))
        return result if self.owned is None else result.mul_(self.owned[asked])

    def row_gram(self) -> Tensor:
        """Return A A^T (n, n) for heads of ones: (X X^T) * (D D^T) where every pattern owns every feature."""
        n, m = len(self.X), self.in_shape[0]
        gram = self.X.new_zeros((n, n))
        entries = GRAM_ENTRIES if self.owned is None else GRAM_ENTRIES // self.X.shape[1]
        for gates in gate_tiles(n, m, max(entries, 8 * n), multiple=8):
            active = self.masks.tile(slice(0, n), gates).to(self.dtype)
            if self.owned is None:
                gram += active @ active.T
                continue
            j, i = torch.nonzero(self.owned[gates], as_tuple=True)
            columns = self.X[:, i] * active[:, j]
            gram += columns @ columns.T
        return gram if self.owned is not None else gram.mul_(self.X @ self.X.T)

    def column_gram(self) -> Tensor:
        """Return A^T A (w, w) of the w weights that the patterns own, in order, for heads of ones."""
        n, m = len(self.X), self.in_shape[0]
        owned = torch.ones(self.in_shape, dtype=torch.bool, device=self.device) if self.owned is None else self.owned
        j, i = torch.nonzero(owned, as_tuple=True)
        gram = self.X.new_zeros((len(j), len(j)))
        for rows in row_tiles(n, len(j), GRAM_ENTRIES):
            columns = self.X[rows][:, i] * self.masks.tile(rows, slice(0, m))[:, j]
            gram += columns.T @ columns
        return gram

    def cast(self, dtype: str, basis: Floats | None = None) -> PatternOperator:
        """Return this operator in another precision, on the same masks; with `basis` T (d, d), of c with U = c T^T.

        Then the rows are X T: T maps what a pattern owns into what it owns.
        """
        other = copy(self)
        other.dtype, other.basis = DTYPES[as_known(dtype, "dtype", DTYPES)], basis
        other.X, other.heads = other._scaled_rows(), self.heads.to(other.dtype)
        return other

    def columns(self, support: Tensor) -> Tensor:
        """Return the columns of A at flat indices j d + i, shape (n k, s); rows run over k fastest."""
        gates, features = support // self.X.shape[1], support % self.X.shape[1]
        # The host waits to be told how many gates there are: not where masks are there as they are.
        live, position = (gates, None) if self.masks.is_stored else torch.unique(gates, return_inverse=True)
        heads = self.heads[:, gates] if self.owned is None else self.heads[:, gates] * self.owned[gates, features]
        result = self.X.new_empty((len(self.X), *heads.shape))
        for rows in row_tiles(len(self.X), heads.numel(), self.tile_entries):
            values = self.X[rows].index_select(1, features)
            active = self.masks.columns(live, rows)
            values.mul_(active if position is None else active.index_select(1, position))
            torch.mul(values[:, None, :], heads, out=result[rows])
        return result.flatten(0, 1)

    def combination(self, support: Tensor, n_outputs: int = 1) -> Combination:
        """Return the sums of the columns of a support, for heads of ones; (j d + i) k + c is that of output c.

        No column is made: the products go over all features of the gates that occur. Patterns own the weights.
        """
        d = self.X.shape[1]
        pairs, place = torch.unique(support // (d * n_outputs) * n_outputs + support % n_outputs, return_inverse=True)
        gates, position = torch.unique(pairs // n_outputs, return_inverse=True)
        heads = self.X.new_zeros((len(pairs), n_outputs))
        heads[torch.arange(len(pairs), device=self.device), pairs % n_outputs] = 1.0
        own = None if len(gates) == len(pairs) else position
        features = support // n_outputs % d
        return Combination(self.X, self.masks, self.tile_entries, place, features, heads, gates, own)

    def column_norms(self) -> Tensor:
        """Return the Euclidean norm of each column of A, shape (m, d); zero where a feature is not owned."""
        squares = self.X.new_zeros(self.in_shape)
        for rows, gates in self._tiles():
            squares[gates] += self.masks.tile(rows, gates).T.to(self.dtype) @ self.X[rows].square()
        if self.owned is not None:
            squares.mul_(self.owned)
        return squares.sqrt_().mul_(self.heads.norm(dim=0)[:, None])

    def _tiles(self, part: slice | None = None) -> Iterator[tuple[slice, slice]]:
        asked = slice(0, self.heads.shape[1]) if part is None else part
        return product_tiles(len(self.X), asked, self.tile_entries)


def _heads(heads: ArrayLike | None, n_gates: int) -> Floats:
    if heads is None:
        return np.ones((1, n_gates))
    values = as_matrix(heads, "heads")
    if values.shape[1] != n_gates:
        raise ValueError(f"heads has shape {values.shape}; expected (k, {n_gates}), one column per pattern")
    return values


def as_device(device: str) -> torch.device:
    """Return the torch device of that name; one that is unknown or not there is a ValueError."""
    expected = "expected 'cpu', 'cuda' or 'cuda:0' and so on"
    try:
        chosen = torch.device(device) if isinstance(device, str) else None
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is unknown; {expected}")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r} and no CUDA device is available; expected 'cpu'")
    return chosen
