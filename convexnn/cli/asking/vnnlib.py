"""The command `vnnlib`: whether a network has the properties of VNN-LIB files."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convexnn.cli.asking.questions import (
    file_key,
    job_of,
    load_network,
    networks_for,
    refuse_batch_of_one,
    refuse_witness_of_many,
    replay_model,
    save_array,
    what_is_left,
)
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import VNNLIB_CODES, worst_code
from convexnn.cli.common.printing import print_counts, print_result
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.json_records import check_record
from convexnn.cli.files.witness_text import witness_text
from convexnn.cli.files.writable import writable, writable_if_given
from convexnn.files import replacing

if TYPE_CHECKING:
    import verify


def vnnlib(
    network: shared.NetworkFile,
    properties: Annotated[
        list[Path], typer.Argument(help="VNN-LIB files, packed or not; several have a JSON line each.")
    ],
    also: Annotated[
        list[Path] | None,
        typer.Option(help="Another network of a property about several, in the order in which it declares them."),
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for each property, reading it among them.")] = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    witness: Annotated[
        Path | None, typer.Option(help="Where a witness goes. (default: PROPERTY.witness.txt in the present folder)")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Append the lines of several to this file, and leave out those that it holds.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work on several properties, or a single one.")] = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Say whether NETWORK has the property of a VNN-LIB file: holds, violated (with a witness file) or unknown.

    Example: convexnn vnnlib net.onnx prop.vnnlib --time-limit 60

    Exit code 0: it holds; 1: it is violated; 3: unknown; 2: bad input, or a worker process was killed. Of several
    properties the code is 3 if any is unknown, else 1 if any is violated. A witness file has the form of
    VNN-COMP; one that ends in .npy has the input.
    """
    import verify

    options, began = {"time_limit": time_limit, "backend": backend, "seed": seed}, perf_counter()
    # Every file is read before the work: a broken one is an error now.
    asked = [verify.read_property(path) for path in properties]
    if len(asked) > 1:
        refuse_witness_of_many(witness, "several properties")
        if also:
            raise ValueError("also is given with several properties; expected it with one property of several networks")
        network_key = file_key("network", network)
        work = [job_of(network_key, file_key("property", path), path, options) for path in properties]
        kept = writable_if_given(log, [network, *properties])
        with workers(jobs, dask) as n_jobs:
            lines = run_batch(work, check_one, kept, n_jobs, ("verdict", VNNLIB_CODES))
        verdicts = [line["verdict"] for line in lines]
        print_counts(verdicts, "properties", str.lower)
        raise typer.Exit(worst_code(verdicts, VNNLIB_CODES))
    refuse_batch_of_one(log, dask, "property", "several")
    place = Path(f"{properties[0].stem}.witness.txt") if witness is None else witness
    networks = [network, *(also or [])]
    file = writable(place, [*networks, *properties])
    check = _check(networks, asked[0], {**options, "n_jobs": jobs}, began)
    written = None if check.witness is None else _write_witness(file, check)
    record = {**check_record(check), "witness_file": None if written is None else str(written)}
    print_result(_words(check, written), record, as_json)
    raise typer.Exit(VNNLIB_CODES[check.status.name])


def check_one(network: Path, digest: str, path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one property: the work of a batch."""
    import verify

    began = perf_counter()
    return check_record(_check([network], verify.read_property(path), options, began, digest))


def _check(
    networks: list[Path], asked: verify.Property, options: dict[str, Any], began: float, digest: str | None = None
) -> verify.Check:
    import verify

    read = networks_for(
        asked, networks, lambda path: load_network(path, fingerprint(path) if digest is None else digest)
    )
    model = None if len(asked.networks) > 1 else replay_model(networks[0])
    return verify.check_vnnlib(read if len(read) > 1 else read[0], asked, model=model, **what_is_left(options, began))


def _write_witness(file: Path, check: verify.Check) -> Path:
    """Write the witness; return the file."""
    assert check.witness is not None
    if file.suffix == ".npy":
        save_array(file, check.witness)
        return file
    with replacing(file, "w", encoding="utf-8") as stream:
        stream.write(text_of(check))
    return file


def text_of(check: verify.Check) -> str:
    """Return the witness of a property with its outputs, those of the model as given where it was replayed."""
    outputs = check.outputs if check.replayed is None else check.replayed
    assert check.witness is not None
    assert outputs is not None
    return witness_text(check.witness.tolist(), outputs.tolist())


def _words(check: verify.Check, written: Path | None) -> str:
    lines = [f"{check.status.name.lower()} in {check.seconds:.3f} s", check.reason]
    return "\n".join(lines if written is None else [*lines, f"witness: {written}"])
