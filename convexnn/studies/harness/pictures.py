"""Pictures of a study, as PNG files: heatmaps with their spread, curves with their spread, scatters, strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from convexnn.files import replacing
from convexnn.studies.harness.study import Row
from convexnn.studies.harness.table import distinct, numbers, select

# Most cells of a heatmap whose values are written on it, and most places of a curve that are named on its axis.
WRITTEN, FEW = 60, 10

# The columns that make the lines and the columns of a heatmap: neurons and weights.
GRID = ("m", "s")


def heatmaps(
    rows: Sequence[Row],
    path: Path,
    value: str,
    *,
    limits: tuple[float, float],
    label: str,
    title: str = "",
    titles: Mapping[str, str] | None = None,
    digits: int = 0,
    most: float = inf,
) -> Path:
    """Draw the mean of a column over neurons m and weights s, a line of panels a method, beside it its spread.

    Parameters
    ----------
    rows : sequence of dict
        With the columns ``m`` (lines, going up), ``s`` (columns) and ``method``; others (seeds) are averaged over.
    path : Path
        The file to write.
    value : str
        Name of the column.
    limits : pair of float
        Ends of the colours; values beyond them have the colour of the end.
    label : str
        What the colours mean.
    title : str, optional
        Above all.
    titles : mapping, optional
        What stands above a panel in place of its value.
    digits : int, default 0
        Of the values written on the cells, where they are few.
    most : float, default inf
        Larger values count as this one: beyond it they say nothing more.
    """
    panels = distinct(rows, "method")
    axes_of = [sorted(distinct(rows, name), key=float) for name in GRID]
    width, height = 1.9 + 0.5 * len(axes_of[1]), 1.0 + 0.34 * len(axes_of[0])
    figure, axes = _grid(len(panels), 2, (width, height), title)
    for place, name in enumerate(panels):
        mean, spread = _cells(select(rows, method=name), value, axes_of, most)
        head = (titles or {}).get(name, name)
        shown = (
            (mean, limits, "viridis", head, label),
            (spread, (0.0, _spread_limit(limits)), "magma", f"{head}: spread", "standard deviation"),
        )
        for axis, part in zip(axes[place], shown, strict=True):
            _heat(axis, *part, axes_of=axes_of, digits=digits)
    return _save(figure, path)


def _spread_limit(limits: tuple[float, float]) -> float:
    """Return the end of the colours of a spread: a quarter of the range of the values."""
    return (limits[1] - limits[0]) / 4.0


def _cells(
    rows: Sequence[Row], value: str, axes_of: Sequence[Sequence[str]], most: float = inf
) -> tuple[Floats, Floats]:
    """Return mean and sample deviation of every cell; nan where there are no, or too few, values."""
    mean = np.full((len(axes_of[0]), len(axes_of[1])), np.nan)
    spread = mean.copy()
    for i, first in enumerate(axes_of[0]):
        for j, second in enumerate(axes_of[1]):
            here = select(rows, **dict(zip(GRID, (first, second), strict=True)))
            values = [min(most, number) for number in numbers(here, value)]
            mean[i, j] = np.mean(values) if values else np.nan
            spread[i, j] = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return mean, spread


def _heat(
    axis: Any,
    values: Floats,
    limits: tuple[float, float],
    colours: str,
    title: str,
    label: str,
    *,
    axes_of: Sequence[Sequence[str]],
    digits: int,
) -> None:
    image = axis.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    axis.set_facecolor("0.85")
    axis.set_title(title, fontsize=9)
    axis.set_yticks(range(len(axes_of[0])), axes_of[0], fontsize=8)
    axis.set_xticks(range(len(axes_of[1])), axes_of[1], fontsize=8, rotation=90 if len(axes_of[1]) > 8 else 0)
    axis.set_ylabel(GRID[0])
    axis.set_xlabel(GRID[1])
    bar = axis.figure.colorbar(image, ax=axis)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if values.size > WRITTEN:
        return
    dark = limits[0] + 0.6 * (limits[1] - limits[0])
    for (i, j), number in np.ndenumerate(values):
        if np.isfinite(number):
            colour = "white" if number < dark else "black"
            axis.text(j, i, f"{number:.{digits}f}", ha="center", va="center", fontsize=7, color=colour)


def curves(
    rows: Sequence[Row],
    path: Path,
    x: str,
    y: str | Sequence[str],
    *,
    labels: tuple[str, str],
    title: str = "",
    group: str = "method",
    titles: Mapping[str, str] | None = None,
    logarithmic: str = "",
    factor: float = 1.0,
    lines: Mapping[str, float] | None = None,
    quartiles: bool = False,
) -> Path:
    """Draw the mean of a column over another one, a curve a method, with the standard deviation as a band.

    A band on a logarithmic axis does not go below the least value.

    Parameters
    ----------
    rows, path, title
        As those of :func:`heatmaps`.
    x, y : str
        Names of the columns; several names of `y` give a panel each.
    labels : pair of str
        Of the axes; with several panels each is titled by its column.
    group : str, default "method"
        Name of the column that tells curves apart.
    titles : mapping, optional
        What the legend says in place of a group's value, and a panel's title in place of a column.
    logarithmic : str, optional
        Any of the letters x and y.
    factor : float, default 1
        Of the values: 100 for percent.
    lines : mapping, optional
        Names and heights of level lines to compare with, after `factor`.
    quartiles : bool, default False
        Whether to draw medians, and the middle half of the values as the band.
    """
    columns = [y] if isinstance(y, str) else list(y)
    figure, axes = _grid(1, len(columns), (5.0, 3.8), title)
    names = titles or {}
    for axis, column in zip(axes[0], columns, strict=True):
        for index, name in enumerate(distinct(rows, group)):
            points = _places(select(rows, **{group: name}), x, column, factor)
            bands = [_band(values, quartiles, "y" in logarithmic) for values in points.values()]
            _curve(axis, list(points), bands, names.get(name, name), index)
        for name, height in (lines or {}).items():
            axis.axhline(height, color="0.4", linestyle=":", linewidth=1.0, label=name)
        _scale(axis, labels, logarithmic)
        places = sorted({float(row[x]) for row in rows})
        if "x" in logarithmic and len(places) <= FEW:
            axis.set_xticks(places, [f"{place:g}" for place in places])
            axis.set_xticks([], minor=True)
        axis.set_title(names.get(column, column) if len(columns) > 1 else "", fontsize=9)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return _save(figure, path)


def _places(rows: Sequence[Row], x: str, y: str, factor: float) -> dict[float, list[float]]:
    """Return the values at each place, places going up."""
    pairs: dict[float, list[float]] = {}
    for row in rows:
        if row[y]:
            pairs.setdefault(float(row[x]), []).append(factor * float(row[y]))
    return dict(sorted(pairs.items()))


def _curve(axis: Any, places: list[float], bands: list[tuple[float, float, float]], name: str, index: int) -> None:
    """Draw one curve, the middle of each band, with the bands behind it."""
    low, middle, high = np.array(bands).reshape(-1, 3).T
    axis.plot(places, middle, color=f"C{index}", marker="o", markersize=3, linewidth=1.2, label=name)
    axis.fill_between(places, low, high, color=f"C{index}", alpha=0.2, linewidth=0)


def _band(values: Sequence[float], quartiles: bool, logarithmic: bool = False) -> tuple[float, float, float]:
    """Return the middle of some values between the ends of their band.

    On a logarithmic axis it ends at the least value: mean less deviation may be negative, and fill all below.
    """
    if quartiles:
        low, middle, high = np.percentile(values, (25, 50, 75))
        return float(low), float(middle), float(high)
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return max(mean - spread, min(values)) if logarithmic else mean - spread, mean, mean + spread


def scatter(
    rows: Sequence[Row],
    path: Path,
    x: str,
    y: str,
    *,
    labels: tuple[str, str],
    title: str = "",
    group: str = "method",
    titles: Mapping[str, str] | None = None,
    logarithmic: str = "",
    diagonal: bool = False,
    apart: bool = False,
) -> Path:
    """Draw a point a row, a colour a method; with `diagonal` the line on which both columns are the same.

    Parameters
    ----------
    rows, path, x, y, labels, title, group, titles, logarithmic
        As those of :func:`curves`; rows without one of the two values are left out.
    diagonal : bool, default False
        Whether to draw the line x = y.
    apart : bool, default False
        Whether each method has a panel, all with the same ends.
    """
    full = [row for row in rows if row[x] and row[y]]
    names = distinct(full, group)
    figure, axes = _grid(1, max(1, len(names)) if apart else 1, (2.8, 3.0) if apart else (5.0, 4.4), title, apart)
    for index, name in enumerate(names):
        here, axis = select(full, **{group: name}), axes[0, index if apart else 0]
        head = (titles or {}).get(name, name)
        axis.scatter(numbers(here, x), numbers(here, y), s=14, alpha=0.7, color=f"C{index}", label=head)
        axis.set_title(head if apart else "", fontsize=9)
    for axis in axes[0]:
        if diagonal and full:
            ends = [bound(numbers(full, x) + numbers(full, y)) for bound in (min, max)]
            axis.plot(ends, ends, color="0.4", linestyle=":", linewidth=1.0)
        _scale(axis, labels, logarithmic)
        axis.grid(alpha=0.3)
        axis.label_outer()
    if full and not apart:
        axes[0, 0].legend(fontsize=7)
    return _save(figure, path)


def strips(
    rows: Sequence[Row],
    path: Path,
    value: str,
    *,
    label: str,
) -> Path:
    """Draw a point a row, a named column of points a method, and a line at the median of each.

    Parameters
    ----------
    rows, path
        As those of :func:`curves`; rows without a value are left out.
    value, label : str
        The column, and what it means.
    """
    full = [row for row in rows if row[value]]
    names = distinct(full, "method")
    figure, axes = _grid(1, 1, (1.5 + 0.8 * len(names), 3.8))
    axis = axes[0, 0]
    for place, name in enumerate(names):
        here = numbers(select(full, method=name), value)
        axis.scatter(np.full(len(here), place), here, s=16, alpha=0.5, color=f"C{place}")
        axis.hlines(np.median(here), place - 0.3, place + 0.3, color="0.2", linewidth=1.2)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, axis="y")
    return _save(figure, path)


def _scale(axis: Any, labels: tuple[str, str], logarithmic: str) -> None:
    """Name both axes; logarithmic ones have plain numbers, between the powers of ten too where there are few."""
    ticker = require("matplotlib.ticker", "matplotlib", "drawing a study")
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    for letter, side in (("x", axis.xaxis), ("y", axis.yaxis)):
        if letter in logarithmic:
            getattr(axis, f"set_{letter}scale")("log")
            # That for logarithms writes 1e-01.
            side.set_major_formatter(ticker.FuncFormatter(lambda value, place: f"{value:g}"))
            side.set_minor_formatter(_plain(ticker))


def _plain(ticker: Any) -> Any:
    """Return a formatter of what is between powers of ten: where there is room, and without powers."""

    class Plain(ticker.LogFormatter):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    return Plain(minor_thresholds=(2.0, 0.5))


def _grid(
    rows: int, columns: int, panel: tuple[float, float], title: str = "", shared: bool = False
) -> tuple[Any, Any]:
    figure = require("matplotlib.figure", "matplotlib", "drawing a study").Figure(
        figsize=(panel[0] * columns, panel[1] * rows + (0.3 if title else 0.0)), dpi=130, layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)


def _save(figure: Any, path: Path) -> Path:
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with replacing(path) as file:
        file.write(drawn.getvalue())
    return path
