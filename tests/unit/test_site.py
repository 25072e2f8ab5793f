"""The documentation as a site."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tools import site, tree


def test_every_page_is_in_the_table_of_contents_once() -> None:
    wanted = [name for name in tree.files("*.md") if not name.startswith(("state/", "tests/", "transpiler/"))]
    contents = Counter(str(page) for part in site.pages().values() for page in part)
    assert sorted([*contents.elements(), "README.md"]) == sorted(wanted)


class Fetched(HTMLParser):
    """What a browser fetches of its own accord."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        key = {"script": "src", "img": "src", "link": "href"}.get(tag)
        self.urls += [value for name, value in attrs if name == key and value]


@pytest.mark.long
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    site.build(tmp_path / "site")
    built = list((tmp_path / "site").rglob("*.html"))
    assert len(built) > sum(map(len, site.pages().values()))
    for page in built:
        fetched = Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in fetched.urls if "://" in url], page
    assert (tmp_path / "site/searchindex.js").stat().st_size > 50_000
