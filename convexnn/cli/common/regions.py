"""Regions of inputs from options: balls of three norms, radii of each input, boxes, and linear constraints beside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convexnn.checks import Floats, as_known
from convexnn.cli.files.batch import fingerprint
from convexnn.cli.files.points import parse_numbers, read_points

if TYPE_CHECKING:
    import verify

NORMS = ("linf", "l1", "l2")


@dataclass(frozen=True)
class RegionOptions:
    """What a command line says of its regions: around points a radius or radii, or a box without points."""

    radius: float | None = None
    norm: str = "linf"
    radii: str | None = None
    box: Path | None = None
    clip: tuple[float, float] | None = None
    constraints: Path | None = None

    def check(self, points: Path | None) -> None:
        """Raise ValueError where options do not go together, or lack what they need."""
        as_known(self.norm, "norm", NORMS)
        ways = {"radius": self.radius, "radii": self.radii, "box": self.box}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            what = " and ".join(given) if given else "none of them"
            raise ValueError(f"{what} is given; expected one of radius, radii and box")
        if (points is None) is not (self.box is not None):
            raise ValueError("box goes without points, radius and radii with them; expected POINTS, or --box alone")
        if self.radii is not None and self.norm != "linf":
            raise ValueError(f"radii is given with the norm {self.norm}; expected linf")
        if self.box is not None and (self.clip is not None or self.norm != "linf"):
            raise ValueError("clip or norm is given with box, which has ends of its own; expected neither")

    @property
    def files(self) -> list[Path]:
        """The files that the options name."""
        return [file for file in (self.box, self.constraints) if file is not None]

    def key(self) -> dict[str, Any]:
        """Return what tells the regions from others, as logs have it; what is left out is not in it."""
        stated: dict[str, Any] = {"radius": self.radius, "clip": None if self.clip is None else list(self.clip)}
        stated |= {} if self.norm == "linf" else {"norm": self.norm}
        stated |= {} if self.radii is None else {"radii": self._radii.tolist()}
        return stated | ({} if self.constraints is None else {"constraints_sha256": fingerprint(self.constraints)})

    def around(self, x: Floats, row: int | None = None) -> verify.Box:
        """Return the region around a point; an error names the row of a batch."""
        try:
            return self._constrained(self._ball(x))
        except ValueError as error:
            raise ValueError(str(error) if row is None else f"row {row}: {error}") from None

    def whole(self) -> verify.Box:
        """Return the box of a file."""
        import verify

        assert self.box is not None
        ends = read_points(self.box, "box")
        if len(ends) != 2:
            raise ValueError(f"box file {self.box} has {len(ends)} rows; expected 2, the lower and the upper ends")
        return self._constrained(verify.Box(ends[0], ends[1]))

    def _ball(self, x: Floats) -> verify.Box:
        import verify

        if self.radii is None:
            kind: Any = {"linf": verify.LinfBall, "l1": verify.L1Ball, "l2": verify.L2Ball}[self.norm]
            return kind(x, self.radius, clip=self.clip)
        radii = self._radii
        if len(radii) != len(x):
            raise ValueError(f"radii has {len(radii)} numbers; expected {len(x)}, one for each input")
        if self.clip is not None:
            verify.LinfBall(x, 0.0, clip=self.clip)  # raises where the point lies outside
        low, high = (-np.inf, np.inf) if self.clip is None else self.clip
        # A ball of the largest radius, cut at each input's own: the point stays the center.
        ends = np.maximum(x - radii, low), np.minimum(x + radii, high)
        return verify.LinfBall(x, float(radii.max()), clip=ends)

    @cached_property
    def _radii(self) -> Floats:
        assert self.radii is not None
        file = Path(self.radii)
        radii = read_points(file, "radii").ravel() if file.is_file() else np.array(parse_numbers(self.radii, "radii"))
        if not (np.isfinite(radii).all() and (radii >= 0.0).all()):
            raise ValueError(f"radii is {self.radii!r}; expected finite numbers of at least 0")
        return radii

    def _constrained(self, region: verify.Box) -> verify.Box:
        if self.constraints is None:
            return region
        table = self._table
        if table.shape[1] != region.size + 1:
            expected = f"expected {region.size + 1}, a factor for each input and the upper bound"
            raise ValueError(f"constraints file {self.constraints} has {table.shape[1]} numbers in a row; {expected}")
        return region.where(table[:, :-1], table[:, -1])

    @cached_property
    def _table(self) -> Floats:
        assert self.constraints is not None
        return read_points(self.constraints, "constraints")
