"""The site: Markdown pages, the reference from docstrings, and what the pages' own Python printed and drew.

`make docs` runs `make_pictures.py` and then builds the site with warnings as errors.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from make_pictures import BLOCK  # noqa: E402 (it lies beside this file)

import convexnn  # noqa: E402
from tests.helpers.public_names import name_table  # noqa: E402

project = "convexnn"
author = "the authors of convexnn"
copyright = "the authors of convexnn, BSD 3-Clause"
version = release = convexnn.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autosummary_generate = True
autodoc_default_options = {
    "members": True,
    "inherited-members": False,
    "show-inheritance": True,
    "exclude-members": "__init__, __new__, set_fit_request, set_score_request",
}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "convexnn"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "convexnn"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars: dict[str, list[str]] = {"index": [], "install": [], "choosing": [], "glossary": [], "changelog": []}

# Files of the repository that are pages too.
BORROWED = re.compile(r"^```\{include\} (\S+)\n```$", flags=re.MULTILINE)

# Links out of docs/ to a folder, which no page can show: the words stay.
FOLDER = re.compile(r"\[([^\]]+)\]\(\.\./[\w/]*?\)")

# Where the table of all names stands.
TABLE = "% the table of names"


def show_results(app: Any, name: str, source: list[str]) -> None:
    """Set what each block of a page printed, and drew, below it."""
    text = BORROWED.sub(lambda match: (DOCS / match[1]).read_text(encoding="utf-8"), source[0])
    text = FOLDER.sub(r"\1", text)
    if name == "reference/names":
        text = text.replace(TABLE, name_table())
    shown = DOCS / "_build" / "pages" / name.rpartition("/")[2] / "printed.json"
    if name.split("/")[0] in ("tutorials", "how") and BLOCK.search(text):
        results = iter(json.loads(shown.read_text(encoding="utf-8")))
        text = BLOCK.sub(lambda match: match[0] + _below(next(results), shown.parent), text)
    source[0] = text


def _below(shown: dict[str, Any], folder: Path) -> str:
    """Return the Markdown of what a block printed and drew."""
    parts = []
    if shown["text"].strip():
        parts.append(f":::{{code-block}} text\n:class: printed\n\n{shown['text'].rstrip()}\n:::")
    for picture, title in zip(shown["pictures"], shown["titles"], strict=True):
        path = (folder / picture).relative_to(DOCS)
        parts.append(f":::{{image}} /{path}\n:alt: {json.dumps(title)}\n:class: drawn\n:::")
    return "".join(f"\n{part}\n" for part in parts)


def escape_bars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep |x| in docstrings what it is; reStructuredText takes it for a name to be replaced."""
    example = False
    for number, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example and "|" in line:
            pieces = re.split(r"(``.*?``)", line)
            lines[number] = "".join(p if p.startswith("``") else p.replace("|", "\\|") for p in pieces)


def _math(self: Any, node: Any, block: bool) -> None:
    """Write a formula as MathML, which browsers show without a script or a network."""
    self.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Connect the parts above."""
    app.connect("source-read", show_results)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
    inline, block = (lambda self, node: _math(self, node, False)), (lambda self, node: _math(self, node, True))
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
