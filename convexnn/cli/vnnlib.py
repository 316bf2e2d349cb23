"""The command `vnnlib`: whether a network has the properties of VNN-LIB files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from convexnn.cli.attack import BACKEND, JSON, NETWORK, SEED, original, read, tried
from convexnn.cli.files.batch import Job, fingerprint, run_batch
from convexnn.cli.files.writable import writable

if TYPE_CHECKING:
    import verify

HOLDING_CODES = {"HOLDS": 0, "VIOLATED": 1, "UNKNOWN": 3}


def vnnlib(
    network: NETWORK,
    properties: Annotated[list[Path], typer.Argument(help="VNN-LIB 1.0 files; several have a JSON line each.")],
    time_limit: Annotated[float, typer.Option(help="Seconds, for each property.")] = 60.0,
    backend: BACKEND = "auto",
    seed: SEED = 0,
    witness: Annotated[
        Path | None, typer.Option(help="Where a witness goes. (default: PROPERTY.witness.txt in the present folder)")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Append the lines of several to this file, and leave out those that it holds.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that work on several properties.")] = 1,
    as_json: JSON = False,
) -> None:
    """Say whether NETWORK has the property of a VNN-LIB file: holds, violated (with a witness file) or unknown.

    Exit code 0: it holds; 1: it is violated; 3: unknown; 2: bad input. Of several properties the code is 3 if any is
    unknown, else 1 if any is violated. A witness file has the form of VNN-COMP; one that ends in .npy has the input.
    """
    import verify

    options = {"time_limit": time_limit, "backend": backend, "seed": seed}
    # Every file is read before the work: a broken one is an error now.
    asked = [verify.read_property(path) for path in properties]
    if len(asked) > 1:
        if witness is not None:
            raise ValueError("witness is given with several properties; expected none (their lines hold the witnesses)")
        files = {"network": str(network), "network_sha256": fingerprint(network)}
        work = [_job(files, path, options) for path in properties]
        raise typer.Exit(_told(run_batch(work, check_one, tried(log, network, *properties), jobs)))
    if log is not None or jobs != 1:
        raise ValueError("log or jobs is given for a single property; expected several")
    target = Path(f"{properties[0].stem}.witness.txt") if witness is None else witness
    file = writable(target.parent, target.name, [network, *properties])
    found = _check(network, fingerprint(network), asked[0], options)
    written = _write(file, found)
    _show(found, written, as_json)
    raise typer.Exit(HOLDING_CODES[found.status.name])


def check_one(network: Path, digest: str, path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one property: the work of a batch."""
    import verify

    return figures(_check(network, digest, verify.read_property(path), options))


def figures(found: verify.Check) -> dict[str, Any]:
    """Return a check for machines; what is not finite is null."""
    return {
        "verdict": found.status.name,
        "proof": found.proof.value if found.proof else None,
        "bound": found.bound if np.isfinite(found.bound) else None,
        "leak": found.leak if np.isfinite(found.leak) else None,
        "reason": found.reason,
        "seconds": found.seconds,
        "backend": found.backend,
        "witness": None if found.witness is None else found.witness.tolist(),
        "outputs": None if found.outputs is None else found.outputs.tolist(),
    }


def _check(network: Path, digest: str, asked: verify.Property, options: dict[str, Any]) -> verify.Check:
    import verify

    return verify.check_vnnlib(read(network, digest), asked, model=original(network), **options)


def _job(files: dict[str, str], path: Path, options: dict[str, Any]) -> Job:
    key = {**files, "property": str(path), "property_sha256": fingerprint(path), **options}
    return Job(key, (Path(files["network"]), files["network_sha256"], path, options))


def _write(file: Path, found: verify.Check) -> Path | None:
    """Write the witness, where there is one; return the file."""
    if found.witness is None:
        return None
    if file.suffix == ".npy":
        with open(file, "wb") as stream:
            np.save(stream, found.witness)
        return file
    outputs = found.outputs if found.replayed is None else found.replayed
    pairs = [f"(X_{index} {value!r})" for index, value in enumerate(found.witness.tolist())]
    pairs += [f"(Y_{index} {value!r})" for index, value in enumerate([] if outputs is None else outputs.tolist())]
    file.write_text("(" + "\n".join(pairs) + ")\n", encoding="utf-8")
    return file


def _show(found: verify.Check, written: Path | None, as_json: bool) -> None:
    console = Console()
    if as_json:
        console.print_json(json.dumps({**figures(found), "witness_file": None if written is None else str(written)}))
        return
    lines = [f"{found.status.name.lower()} in {found.seconds:.3f} s", found.reason]
    lines += [] if written is None else [f"witness: {written}"]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _told(lines: list[dict[str, Any]]) -> int:
    counts = Counter(line["verdict"] for line in lines)
    words = ", ".join(f"{count} {name.lower()}" for name, count in counts.most_common())
    Console(stderr=True).print(f"{len(lines)} properties: {words}", highlight=False)
    codes = {HOLDING_CODES[name] for name in counts}
    return 3 if 3 in codes else max(codes)
