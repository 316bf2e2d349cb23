"""The command `vnncomp`: instances as the verification competition lists and runs them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from convexnn.checks import as_nonnegative
from convexnn.cli.asking.isolated import run_isolated
from convexnn.cli.asking.questions import networks_for, replay_model
from convexnn.cli.asking.vnnlib import text_of
from convexnn.cli.common import options as shared
from convexnn.cli.common.exit_codes import BAD_INPUT, INTERRUPTED
from convexnn.cli.common.printing import print_json
from convexnn.cli.files.instances import Instance, Outcome, instance_of, read_instances, table
from convexnn.cli.files.writable import writable
from convexnn.files import replacing

if TYPE_CHECKING:
    import verify

# The words of the competition for what is known of a property; UNKNOWN at the limit is a timeout.
WORDS = {"HOLDS": "unsat", "VIOLATED": "sat", "UNKNOWN": "unknown"}

FORMS = "INSTANCES --output RESULTS, or CATEGORY ONNX VNNLIB RESULT_FILE LIMIT"


def vnncomp(
    what: Annotated[
        list[str],
        typer.Argument(
            help=f"{FORMS} (after v1, as its scripts begin, or not).", metavar="INSTANCES | ...", show_default=False
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Table of results of a list; rows that it holds are not run again.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Instances of a list at a time, or processes for one.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds of each instance of a list, in place of those it states.")
    ] = None,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts of results as JSON.")] = False,
) -> None:
    """Run instances of VNN-COMP: a list of networks, properties and limits, or a single one.

    INSTANCES has a row ONNX,VNNLIB,LIMIT for each, with paths from its folder; files may be packed (.gz). Several
    networks are a list in quotes, "[('f', 'a.onnx'), ('g', 'b.onnx')]". Each runs in
    a process of its own, and RESULTS gets a row: sat (the witness in a file of the folder RESULTS.witnesses), unsat,
    unknown, timeout or error; a process that is killed or crashes is one row. Reading counts towards the limit.

    CATEGORY ONNX VNNLIB RESULT_FILE LIMIT writes one result: a line with the word, and below it the witness.

    Exit code 0: every instance has its row, or RESULT_FILE its word; 2: bad input, or the single result is an error;
    130: interrupted.

    Example: convexnn vnncomp benchmarks/acasxu/instances.csv --output results.csv --jobs 2
    """
    options = {"backend": backend, "seed": seed}
    words = what[1:] if len(what) == 6 and what[0] == "v1" else what
    if len(words) == 5:
        if output is not None or time_limit is not None:
            raise ValueError("output or time-limit is given for a single instance; expected them with a list")
        _run_single(words, {**options, "n_jobs": jobs})
        return
    if len(words) != 1 or output is None:
        raise ValueError(f"{len(what)} arguments are given{'' if output else ' without --output'}; expected {FORMS}")
    if time_limit is not None:
        as_nonnegative(time_limit, "time_limit")
    results = _run_list(Path(words[0]), output, jobs, time_limit, options)
    counts = Counter(outcome.result for outcome in results)
    if as_json:
        print_json({"instances": len(results), **counts})
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    Console(stderr=True).print(f"{len(results)} instances: {listed}", highlight=False)


def _run_list(path: Path, output: Path, jobs: int, limit: float | None, options: dict[str, Any]) -> list[Outcome]:
    """Run the instances of a list that the table does not hold; return the outcomes of all."""
    instances = read_instances(path, limit)
    writable(output, [path, *(file for instance in instances for file in instance.files)])
    folder = output.with_name(f"{output.name}.witnesses")
    with table(output) as (known, write):
        waiting = [instance for instance in instances if instance.key not in known]
        for instance, outcome, text in run_isolated(waiting, jobs, options):
            witness = ""
            if outcome.result == "sat":
                file = folder / f"{instances.index(instance):04}_{instance.stem}.txt"
                witness = f"{folder.name}/{file.name}"
                folder.mkdir(exist_ok=True)
                with replacing(file, "w", encoding="utf-8") as stream:
                    stream.write(text)
            known[instance.key] = replace(outcome, witness=witness)
            write(instance, known[instance.key])
    return [known[instance.key] for instance in instances]


def _run_single(words: Sequence[str], options: dict[str, Any]) -> None:
    """Run one instance, and write its result."""
    _, onnx, vnnlib, target, seconds = words
    try:
        limit = float(seconds)
    except ValueError:
        limit = -1.0
    if not (isfinite(limit) and limit >= 0.0):
        raise ValueError(f"LIMIT is {seconds!r}; expected seconds")
    file = writable(Path(target), [Path(onnx), Path(vnnlib)])
    try:
        instance = instance_of(onnx, vnnlib, limit, Path())
        outcome, text = decide(instance, options)
    except (ValueError, TypeError, ImportError, OSError, MemoryError) as error:
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        outcome, text = Outcome("error", 0.0), ""
    if not outcome.result:
        raise typer.Exit(INTERRUPTED)
    with replacing(file, "w", encoding="utf-8") as stream:
        stream.write(f"{outcome.result}\n{text}")
    if outcome.note:
        print(outcome.note, file=sys.stderr)
    raise typer.Exit(BAD_INPUT if outcome.result == "error" else 0)


def decide(instance: Instance, options: dict[str, Any]) -> tuple[Outcome, str]:
    """Return what comes out of an instance, and its witness as text; no result where it was interrupted."""
    import verify

    for module in ("onnx", "onnxruntime") if any(map(replay_model, instance.network_files)) else ():
        # Imports are no part of the question.
        if find_spec(module) is not None:
            import_module(module)
    began = perf_counter()
    asked = verify.read_property(instance.property_file)
    networks = networks_for(asked, instance.network_files, verify.read_network)
    given = dict(zip(instance.names, networks, strict=True)) if instance.names else networks[0]
    model = replay_model(instance.network_files[0]) if len(asked.networks) < 2 else None
    left = max(0.0, instance.limit - (perf_counter() - began))
    check = verify.check_vnnlib(given, asked, time_limit=left, model=model, **options)
    seconds = perf_counter() - began
    result = WORDS.get(check.status.name, "")
    if result == "unknown" and seconds >= instance.limit:
        result = "timeout"
    return Outcome(result, seconds, note=_reason(check)), "" if check.witness is None else text_of(check)


def _reason(check: verify.Check) -> str:
    proof = f" ({check.proof.value})" if check.proof else ""
    return f"{check.reason}{proof}"
