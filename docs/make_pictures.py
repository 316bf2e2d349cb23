"""Run the Python of the pages that show what it prints and draws, and leave both for the site.

python docs/make_pictures.py [folder]

Blocks of a page share their names and a folder of their own. What each prints goes to ``NAME/printed.json``, and what
it draws, to the pictures that it saves there: ``docs/conf.py`` sets them below the block.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from contextlib import chdir, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
SHOWN = ("tutorials", "how")
STYLE: Any = {"figure.dpi": 100, "savefig.dpi": 144, "figure.constrained_layout.use": True}
BLOCK = re.compile(r"^```python\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """What a block printed, the names of the pictures that it saved, and a title each."""

    text: str
    pictures: tuple[str, ...]
    titles: tuple[str, ...]


def pages() -> list[Path]:
    """Return the pages whose blocks are run when the site is built."""
    return sorted(path for room in SHOWN for path in (DOCS / room).glob("*.md") if blocks(path))


def run_page(page: Path, folder: Path) -> list[Shown]:
    """Run the blocks of a page in order, in a folder, and return what each showed."""
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": page.stem}
    with chdir(folder), matplotlib.rc_context(STYLE):
        return [_run_block(block, f"{page.name}, block {i}", names) for i, block in enumerate(blocks(page))]


def blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page."""
    return BLOCK.findall(page.read_text("utf-8"))


def _run_block(block: str, name: str, names: dict[str, Any]) -> Shown:
    from matplotlib import pyplot

    printed, before = io.StringIO(), set(os.listdir())
    with redirect_stdout(printed):
        exec(compile(block, name, "exec"), names)
    pictures = sorted(name for name in set(os.listdir()) - before if name.endswith((".png", ".svg")))
    titles = [_title(pyplot.figure(number)) for number in pyplot.get_fignums()]
    pyplot.close("all")
    return Shown(printed.getvalue(), tuple(pictures), tuple([*titles, *[""] * len(pictures)][: len(pictures)]))


def _title(figure: Any) -> str:
    """Return the title of a figure, or of its first axes that have one: the words for those who do not see it."""
    return figure.get_suptitle() or next((axes.get_title() for axes in figure.axes if axes.get_title()), "")


def main(folder: Path) -> None:
    """Run all pages and leave what they show in a folder each."""
    for page in pages():
        place = folder / page.stem
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        begun = time.process_time()
        shown = run_page(page, place)
        (place / "printed.json").write_text(json.dumps([asdict(block) for block in shown]), encoding="utf-8")
        print(f"{page.relative_to(DOCS)}: {len(shown)} blocks, {time.process_time() - begun:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else DOCS / "_build" / "pages")
