"""The commands: arguments in, tables or JSON out, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter
from traceback import print_exc
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from convexnn.checks import Floats, as_file, as_matrix
from convexnn.cli.crosscheck import crosscheck
from convexnn.cli.files import writable
from convexnn.cli.fit import fit
from convexnn.cli.predict import predict

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sparse ReLU networks, recovered by convex methods and verified exactly.",
)

# Exit codes of `attack` by verdict; 2 is bad input, 70 a defect of the program, 130 an interruption.
VERDICT_CODES = {"ROBUST": 0, "COUNTEREXAMPLE": 1, "MISCLASSIFIED": 1, "UNKNOWN": 3}
BAD_INPUT, DEFECT, INTERRUPTED = 2, 70, 130

Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON instead of tables.")]


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; whatever goes wrong is one line on standard error."""
    try:
        code = int(app(args=arguments, standalone_mode=False) or 0)
        return _complain("interrupted", code) if code == INTERRUPTED else code
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except (ValueError, ImportError, OSError) as error:
        return _complain(str(error), BAD_INPUT)
    except Exception as error:
        # Wrong options and arguments: the parser's own errors format themselves.
        message = getattr(error, "format_message", None)
        if message is not None:
            return _complain(message(), BAD_INPUT)
        print_exc()
        return _complain("this is a defect of convexnn; please report it", DEFECT)


def _complain(message: str, code: int) -> int:
    if message:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


@app.callback()
def convexnn() -> None:
    """Sparse ReLU networks, recovered by convex methods and verified exactly."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for report.html, network.npz and network.onnx.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the patterns and the search.")] = 0,
    as_json: Json = False,
) -> None:
    """Digits in, a sparse ReLU network out, the network verified: the whole line in under a minute."""
    page = writable(output, "report.html")
    from convexnn.cli.demo import run_demo
    from convexnn.cli.report import report
    from convexnn.cli.tables import recovery_sheet, robustness_sheet, summary

    progress, console = Console(stderr=True), Console()
    result = run_demo(seed, lambda title: _step(progress, title))
    network = result.iht.refit.mapping.network
    page.write_text(report(result), encoding="utf-8")
    files = [page, network.save(output / "network.npz"), network.to_onnx(output / "network.onnx")]
    if as_json:
        console.print_json(json.dumps(summary(result)))
        return
    for sheet in (recovery_sheet(result), robustness_sheet(result)):
        console.print(sheet.to_rich())
        console.print()
    console.print(f"{network}; {result.seconds:.1f} s in all", highlight=False)
    console.print("written: " + ", ".join(map(str, files)), highlight=False, markup=False, soft_wrap=True)


def _step(console: Console, title: str) -> AbstractContextManager[None]:
    @contextmanager
    def shown() -> Iterator[None]:
        began = perf_counter()
        with console.status(f"{title} ..."):
            yield
        console.print(f"[green]\N{CHECK MARK}[/green] {title} ({perf_counter() - began:.1f} s)", highlight=False)

    return shown()


for command in (fit, predict, crosscheck):
    app.command()(command)


@app.command()
def attack(
    network: Annotated[Path, typer.Argument(help="The network: .npz written by convexnn, or .onnx.")],
    points: Annotated[Path, typer.Argument(help="The input: .npy, or text with commas or blanks; one row a point.")],
    radius: Annotated[float, typer.Option(help="L-inf radius, in units of the inputs.")],
    row: Annotated[int, typer.Option(min=0, help="Which row of the points.")] = 0,
    clip: Annotated[tuple[float, float] | None, typer.Option(help="Valid inputs: LOWER UPPER.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to keep; default the network's own.")] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds.")] = 60.0,
    backend: Annotated[
        str, typer.Option(help="MILP engine: auto, gurobi, highspy, highs, gscip, scip or scipy.")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the gradient ascent.")] = 0,
    witness: Annotated[Path | None, typer.Option(help="Write a witness to this .npy file.")] = None,
    as_json: Json = False,
) -> None:
    """Find an adversarial input of NETWORK near a point, or prove that there is none.

    Exit code 0: proven robust; 1: attack found, or the point itself is misclassified; 3: unknown; 2: bad input.
    """
    import verify
    from convexnn.cli.tables import answer_figures

    target = None if witness is None else writable(witness.parent, witness.name, [network, points])
    region = verify.LinfBall(read_point(points, row), radius, clip=clip)
    answer = verify.find_adversarial(network, region, label, time_limit=time_limit, backend=backend, seed=seed)
    console = Console()
    if as_json:
        console.print_json(json.dumps(answer_figures(answer)))
    else:
        console.print(str(answer), highlight=False, markup=False, soft_wrap=True)
    if target is not None and answer.witness is not None:
        with open(target, "wb") as file:
            np.save(file, answer.witness)
    raise typer.Exit(VERDICT_CODES[answer.status.name])


def read_point(path: Path, row: int) -> Floats:
    """Return one row of an .npy file, or of a text file with commas or blanks between the numbers."""
    as_file(path, "points file")
    try:
        table = np.atleast_2d(np.load(path, allow_pickle=False) if path.suffix == ".npy" else _read_text(path))
        table = as_matrix(table, "points")
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"points file {path} cannot be read as rows of numbers ({error})") from None
    if row >= len(table):
        raise ValueError(f"row is {row}; the points file {path} has {len(table)} rows, counted from 0")
    return np.asarray(table[row])


def _read_text(path: Path) -> Floats:
    """Return the numbers of a text file; an empty cell is an error, never passed over."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        raise ValueError("it is empty")
    return np.loadtxt(text.splitlines(), delimiter="," if "," in text else None, ndmin=2)
