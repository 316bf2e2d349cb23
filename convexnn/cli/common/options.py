"""Arguments and options that several commands share, with their words in the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Of commands on a table.
TargetColumn = Annotated[str | None, typer.Option(help="Target column: name, or index from 0. (default: last)")]
DroppedColumns = Annotated[list[str] | None, typer.Option(help="Column to leave out, as the target; repeatable.")]
Missing = Annotated[
    str,
    typer.Option(
        help="Missing cells: fail; drop their rows; or median, for text the most frequent. A row without a target is "
        "dropped by both."
    ),
]
Separator = Annotated[
    str | None, typer.Option(help="Between two cells: a character, tab or blank. (default: found in the first rows)")
]
Decimal = Annotated[str, typer.Option(help="Before the decimals: a point or a comma; 1.234,5 with a comma is 1234.5.")]
TextColumns = Annotated[
    list[str] | None, typer.Option("--text", help="Column whose numbers are labels, such as codes; repeatable.")
]
Comment = Annotated[
    str | None,
    typer.Option(help="Lines that begin with this are skipped; '': none. (default: a row with # is an error)"),
]
Monotonic = Annotated[
    str | None,
    typer.Option(
        help="Features in which the output never falls (+1), or never rises (-1): debt=-1,income=+1. Of two labels the "
        "second in their order is the one that grows likelier.",
        metavar="NAME=SIGN,...",
    ),
]

# Of commands that ask about a network.
NetworkFile = Annotated[Path, typer.Argument(help="The network: .npz written by convexnn, .onnx or .onnx.gz.")]
Backend = Annotated[
    str,
    typer.Option(
        help="What decides where bounds do not: auto, branching, gurobi, highspy, highs, gscip, scip or scipy."
    ),
]
AscentSeed = Annotated[int, typer.Option(min=0, help="Seed of the gradient ascent.")]

# Of commands that ask about balls around points.
PointsFile = Annotated[
    Path | None,
    typer.Argument(help="The input: .npy, or text with commas or blanks; one row a point. None with --box."),
]
Radius = Annotated[float | None, typer.Option(help="Radius of a ball around each point, in units of the inputs.")]
Norm = Annotated[str, typer.Option(help="Norm of the ball: linf, l1 or l2.")]
Radii = Annotated[
    str | None,
    typer.Option(help="Or a radius for each input: numbers with commas between, or a file of them.", metavar="NUMBERS"),
]
BoxFile = Annotated[
    Path | None, typer.Option(help="Or a box without points: a file with a row of lower and one of upper ends.")
]
Constraints = Annotated[
    Path | None,
    typer.Option(help="Linear constraints beside: a file, each row a factor for each input, then the upper bound."),
]
SingleRow = Annotated[int, typer.Option(min=0, help="Which row of the points.")]
ManyRows = Annotated[str | None, typer.Option(help="Many rows, a JSON line for each: all, 0:100, or 0,3,5.")]
Clip = Annotated[tuple[float, float] | None, typer.Option(help="Valid inputs: LOWER UPPER.")]
KeptLabel = Annotated[int | None, typer.Option(help="Class to keep; default the network's own.")]
KeptLabels = Annotated[Path | None, typer.Option(help="Classes to keep: a file with one for each point.")]
Target = Annotated[int | None, typer.Option(help="The only class that may win; default any.")]
RowTimeLimit = Annotated[float, typer.Option(help="Seconds for each row, reading the network among them.")]
Surrogates = Annotated[
    str | None, typer.Option(help="Search through pruned copies too: their sparsities, such as 0.8,0.9.")
]
WitnessFile = Annotated[Path | None, typer.Option(help="Write the witness of a single row to this .npy file.")]
RowLog = Annotated[
    Path | None, typer.Option(help="Append the lines of many rows to this file, and leave out rows that it holds.")
]
RowJobs = Annotated[int, typer.Option(min=1, help="Processes that work on many rows, or on a single one.")]

# Of commands whose work falls apart.
Jobs = Annotated[int, typer.Option(min=1, help="Processes that work at a time.")]
Dask = Annotated[
    str | None, typer.Option(help="Or the cluster that works: the address of a Dask scheduler.", metavar="ADDRESS")
]

# Of what is printed.
JsonInsteadOfTables = Annotated[bool, typer.Option("--json", help="Print figures as JSON instead of tables.")]
JsonInsteadOfText = Annotated[bool, typer.Option("--json", help="Print figures as JSON instead of text.")]
