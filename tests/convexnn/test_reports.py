"""Pages: one file with everything inside, and nothing from outside that is not escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from convexnn.reports import Section, html_page, markdown_page
from convexnn.tables import Table

PNG = b"\x89PNG"


class Tags(HTMLParser):
    """Every tag that begins, with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = list[tuple[str, dict[str, str | None]]]()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_page_has_all_parts_in_their_order_and_escapes_what_is_given() -> None:
    evil = "<script>alert('x')</script>"
    table = Table((evil, "n"), ((evil, "1"), ("b", "2")))
    page = html_page(evil, [Section(evil, f"*word* {evil}", table, evil, PNG, evil), Section(text="last")])
    read = Tags(page)
    names = [tag for tag, _ in read.tags]
    assert "script" not in names
    kept = [name for name in names if name in ("h1", "h2", "em", "table", "td", "img")]
    assert kept == ["h1", "h2", "em", "table", "td", "td", "td", "td", "img"]
    assert read.words.count("alert") == 7
    assert read.words.index("1") < read.words.index("last")
    assert dict(read.tags)["img"]["src"] == "data:image/png;base64,iVBORw=="
    assert dict(read.tags)["img"]["alt"] == evil


def test_what_is_empty_does_not_appear() -> None:
    names = {tag for tag, _ in Tags(html_page("title", [Section(text="words")])).tags}
    assert not names & {"h2", "table", "img"}


def test_markdown_takes_its_pictures_with_it(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    text = "# Title\n\n| a | b |\n| :--- | ---: |\n| x | 1 |\n\n![one](one.png)\n\n<details>more</details>\n"
    read = Tags(markdown_page("Title", text, tmp_path))
    names = [tag for tag, _ in read.tags]
    assert [names.count(name) for name in ("h1", "table", "img", "details")] == [1, 1, 1, 1]
    assert dict(read.tags)["img"]["src"] == "data:image/png;base64,iVBORw=="
