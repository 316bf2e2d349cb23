"""The commands: arguments in, tables or JSON out, errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from time import perf_counter
from traceback import print_exc
from typing import Annotated

import typer
from rich.console import Console

from convexnn import __version__
from convexnn.checks import require
from convexnn.cli.asking.attack import attack
from convexnn.cli.asking.evaluate import evaluate
from convexnn.cli.asking.maximize import maximize
from convexnn.cli.asking.min_radius import min_radius
from convexnn.cli.asking.output_range import output_range
from convexnn.cli.asking.vnncomp import vnncomp
from convexnn.cli.asking.vnnlib import vnnlib
from convexnn.cli.budget_path import budget_path
from convexnn.cli.common import options as shared
from convexnn.cli.common.exit_codes import BAD_INPUT, DEFECT, INTERRUPTED
from convexnn.cli.common.printing import print_json, print_plain
from convexnn.cli.common.ranks import is_other_rank, never, on_all_ranks
from convexnn.cli.crosscheck import crosscheck
from convexnn.cli.files.writable import writable
from convexnn.cli.fit import fit
from convexnn.cli.predict import predict
from convexnn.cli.recover import is_shared_out, recover
from convexnn.cli.reproduce import reproduce
from convexnn.files import replacing
from convexnn.rank_workers import RankGoneError

# Characters of an error that are shown; beyond it the middle is left out.
LONGEST = 2000

# The ways to ask for help.
HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    add_completion=False,
    context_settings=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sparse ReLU networks, recovered by convex methods and verified exactly.",
)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; whatever goes wrong is one line on standard error.

    Of the ranks of `torchrun` the first one alone prints, and exits with a code of its own; of the others one that has
    lost a rank says so.
    """
    if not is_other_rank():
        return _run(arguments)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            app(args=arguments, standalone_mode=False)
        except RankGoneError as error:
            lost = str(error)
        except BaseException:
            return 0
        else:
            return 0
    return _complain(lost, BAD_INPUT)


def _run(arguments: list[str] | None) -> int:
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
    line = " ".join(message.split())
    if len(line) > LONGEST:
        # A word of megabytes that a file holds is not shown whole.
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    if line:
        print(f"error: {line}", file=sys.stderr)
    return code


def _show_version(asked: bool) -> None:
    if asked:
        print(f"convexnn {__version__}")
        raise typer.Exit


@app.callback()
def convexnn(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Sparse ReLU networks, recovered by convex methods and verified exactly.

    Each command has an example in its own help, such as convexnn attack -h.
    """


def demo(
    output: Annotated[Path, typer.Option(help="Folder for report.html, network.npz and network.onnx.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the patterns and the search.")] = 0,
    as_json: shared.JsonInsteadOfTables = False,
) -> None:
    """Digits in, a sparse ReLU network out, the network verified: the whole line in under a minute.

    Example: convexnn demo --output demo
    """
    page = writable(output / "report.html")
    for package in ("cvxpy", "matplotlib", "onnx"):
        require(package, package, "the demonstration")
    from convexnn.cli.demonstration.experiment import run_demo
    from convexnn.cli.demonstration.report import report
    from convexnn.cli.demonstration.tables import demo_record, recovery_table, robustness_table

    progress, console = Console(stderr=True), Console()
    result = run_demo(seed, lambda title: _step(progress, title))
    network = result.iht.refit.mapping.network
    text = report(result)
    with replacing(page, "w", encoding="utf-8") as file:
        file.write(text)
    files = [page, network.save(output / "network.npz"), network.to_onnx(output / "network.onnx")]
    if as_json:
        print_json(demo_record(result))
        return
    for table in (recovery_table(result), robustness_table(result)):
        console.print(table.to_rich())
        console.print()
    console.print(f"{network}; {result.seconds:.1f} s in all", highlight=False)
    print_plain("written: " + ", ".join(map(str, files)), console)


def _step(console: Console, title: str) -> AbstractContextManager[None]:
    @contextmanager
    def shown() -> Iterator[None]:
        began = perf_counter()
        with console.status(f"{title} ..."):
            yield
        console.print(f"[green]\N{CHECK MARK}[/green] {title} ({perf_counter() - began:.1f} s)", highlight=False)

    return shown()


COMMANDS: tuple[Callable[..., None], ...] = (
    *(demo, fit, predict, recover, budget_path, crosscheck),
    *(attack, maximize, output_range, min_radius, evaluate, vnnlib, vnncomp),
    reproduce,
)

for command in COMMANDS:
    app.command(context_settings=HELP)(on_all_ranks(command, is_shared_out if command is recover else never))
