"""The commands: arguments in, tables or JSON out, errors in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from convexnn.checks import Floats

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sparse ReLU networks, recovered by convex methods and verified exactly.",
)

# Exit codes: 2 for bad input (as for a wrong option), the others by what was found.
BAD_INPUT = 2
VERDICT_CODES = {"ROBUST": 0, "COUNTEREXAMPLE": 1, "MISCLASSIFIED": 1, "UNKNOWN": 3}

Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON instead of tables.")]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what bad input raises into one line on standard error and exit code 2."""
    try:
        yield
    except (ValueError, TypeError, ImportError, OSError) as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {str(error).strip()}", soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from None


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
    with readable_errors():
        output.mkdir(parents=True, exist_ok=True)
        _demo(output, seed, as_json)


def _demo(output: Path, seed: int, as_json: bool) -> None:
    from convexnn.cli.demo import run_demo
    from convexnn.cli.report import report
    from convexnn.cli.tables import recovery_sheet, robustness_sheet, summary

    progress, console = Console(stderr=True), Console()
    result = run_demo(seed, lambda title: _step(progress, title))
    network = result.iht.refit.mapping.network
    files = [network.save(output / "network.npz"), network.to_onnx(output / "network.onnx"), output / "report.html"]
    files[-1].write_text(report(result), encoding="utf-8")
    if as_json:
        console.print_json(json.dumps(summary(result)))
        return
    for sheet in (recovery_sheet(result), robustness_sheet(result)):
        console.print(sheet.to_rich())
        console.print()
    console.print(f"{network}; {result.seconds:.1f} s in all", highlight=False)
    console.print("written: " + ", ".join(map(str, files)), highlight=False, soft_wrap=True)


def _step(console: Console, title: str) -> AbstractContextManager[None]:
    @contextmanager
    def shown() -> Iterator[None]:
        began = perf_counter()
        with console.status(f"{title} ..."):
            yield
        console.print(f"[green]\N{CHECK MARK}[/green] {title} ({perf_counter() - began:.1f} s)", highlight=False)

    return shown()


@app.command()
def attack(
    network: Annotated[Path, typer.Argument(help="The network: .npz written by convexnn, or .onnx.")],
    points: Annotated[Path, typer.Argument(help="The input: .npy, or text with commas or blanks; one row a point.")],
    radius: Annotated[float, typer.Option(help="L-inf radius, in units of the inputs.")],
    row: Annotated[int, typer.Option(min=0, help="Which row of the points.")] = 0,
    clip: Annotated[tuple[float, float] | None, typer.Option(help="Valid inputs: LOWER UPPER.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to keep; default the network's own.")] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds.")] = 60.0,
    backend: Annotated[str, typer.Option(help="MILP engine: auto, highs or scipy.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the gradient ascent.")] = 0,
    witness: Annotated[Path | None, typer.Option(help="Write a witness to this .npy file.")] = None,
    as_json: Json = False,
) -> None:
    """Find an adversarial input of NETWORK near a point, or prove that there is none.

    Exit code 0: proven robust; 1: attack found, or the point itself is misclassified; 3: unknown; 2: bad input.
    """
    with readable_errors():
        import verify

        region = verify.LinfBall(read_point(points, row), radius, clip=clip)
        answer = verify.find_adversarial(network, region, label, time_limit=time_limit, backend=backend, seed=seed)
        if witness is not None and answer.witness is not None:
            np.save(witness, answer.witness)
    console = Console()
    if as_json:
        console.print_json(json.dumps(_answer_figures(answer)))
    else:
        console.print(str(answer), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(VERDICT_CODES[answer.status.name])


def read_point(path: Path, row: int) -> Floats:
    """Return one row of an .npy or text file of numbers."""
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _read_text(path)
        table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"points file {path} cannot be read as numbers ({error})") from None
    if table.ndim != 2 or row >= len(table):
        raise ValueError(f"row is {row}; the points file {path} has shape {table.shape}")
    return np.asarray(table[row])


def _read_text(path: Path) -> Floats:
    text = path.read_text(encoding="utf-8").replace(",", " ")
    return np.array([[float(number) for number in line.split()] for line in text.splitlines() if line.strip()])


def _answer_figures(answer: object) -> dict[str, object]:
    import verify

    assert isinstance(answer, verify.Answer)
    return {
        "verdict": answer.status.name,
        "label": answer.label,
        "margin": answer.value if np.isfinite(answer.value) else None,
        "bound": answer.bound if np.isfinite(answer.bound) else None,
        "proof": answer.proof.value if answer.proof else None,
        "reason": answer.reason,
        "seconds": answer.seconds,
        "backend": answer.backend,
        "witness": None if answer.witness is None else answer.witness.tolist(),
    }
