"""Reports: one HTML page with everything inside, made of Markdown, tables and pictures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convexnn.checks import require
from convexnn.tables import Table

# Nothing is loaded from anywhere, and the reader's choice of light or dark is followed.
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; display: block;
  max-width: 100%; overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8884; text-align: left; }
.right { text-align: right; } .note { color: #777; font-size: .9rem; max-width: 48rem; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
pre { overflow-x: auto; background: #8882; padding: .6rem .8rem; border-radius: 6px; } summary { cursor: pointer; }
</style>
</head>
<body>
{% if heading %}<h1>{{ title }}</h1>
{% endif %}{% for section in sections %}{% if section.title %}<h2>{{ section.title }}</h2>
{% endif %}{{ section.words }}{% if section.table %}<table><tr>{% for name in section.table.header %}
<th{% if not section.table.left[loop.index0] %} class="right"{% endif %}>{{ name }}</th>{% endfor %}</tr>
{% for row in section.table.rows %}<tr>{% for cell in row %}
<td{% if not section.table.left[loop.index0] %} class="right"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endif %}{% if section.note %}<p class="note">{{ section.note }}</p>
{% endif %}{% if section.source %}<img alt="{{ section.alt }}" src="{{ section.source }}">
{% endif %}{% endfor %}</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A part of a page; what is left empty does not appear.

    Attributes
    ----------
    title : str
        Above it.
    text : str
        Markdown, without HTML.
    table : Table, optional
        Below the text, with `note` below it.
    picture : bytes, optional
        PNG, at the end; `alt` says what is seen.
    """

    title: str = ""
    text: str = ""
    table: Table | None = None
    note: str = ""
    picture: bytes | None = None
    alt: str = ""

    @property
    def words(self) -> Any:
        """The text as HTML."""
        return _markup(_markdown(html=False).render(self.text))

    @property
    def source(self) -> str:
        """The picture as an address, empty without one."""
        return "" if self.picture is None else _address(self.picture)


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Return a page of sections; what comes from outside is escaped.

    Examples
    --------
    >>> page = html_page("Rows & columns", [Section("One", "*Two* words.", Table(("a", "b"), (("x", "1"),)))])
    >>> "<h1>Rows &amp; columns</h1>" in page, "<em>Two</em> words." in page
    (True, True)
    """
    return str(_template().render(title=title, heading=True, sections=sections))


def markdown_page(title: str, text: str, folder: Path) -> str:
    """Return a page of Markdown that was written here, HTML in it included, with the pictures of a folder inside."""
    markdown = _markdown(html=True)

    def image(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        token.attrs["src"] = _address((folder / str(token.attrs["src"])).read_bytes())
        return str(self.image(tokens, index, options, env))

    markdown.add_render_rule("image", image)
    sections = [{"words": _markup(markdown.render(text))}]
    return str(_template().render(title=title, heading=False, sections=sections))


def _template() -> Any:
    return require("jinja2", "jinja2", "a report").Environment(autoescape=True).from_string(TEMPLATE)


def _markup(html: str) -> Any:
    return require("markupsafe", "jinja2", "a report").Markup(html)


def _markdown(html: bool) -> Any:
    made = require("markdown_it", "markdown-it-py", "a report").MarkdownIt("commonmark", {"html": html})
    return made.enable("table")


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
