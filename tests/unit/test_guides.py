"""The guides: their specs are valid and print what the guides say, and the index has all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.ops.check import validate
from tests.conftest import Folder
from tools.cache import ROOT

FOLDER = ROOT / "docs/guides"
GUIDES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
LONGEST = 119
"""Characters in a line of a guide."""
ELSEWHERE = re.compile(r"There is no (Compose|Quadlet) file|comes from the stack's config, which has no")
"""What `fleet validate` says of a spec whose files, or stack, a guide has beside it."""


def shown() -> Iterator[tuple[str, str, str]]:
    """Whole specs of the guides: where, the text, and what the guide says that `fleet validate` prints of it."""
    for page in GUIDES:
        for number, part in enumerate(re.split(r"^```yaml\n", page.read_text(), flags=re.M)[1:]):
            spec, _, rest = part.partition("\n```")
            if re.search(r"^name:", spec, re.M) and re.search(r"^groups:", spec, re.M):
                printed = re.search(r"^ *(\S+: valid; nodes: .+)$", rest, re.M)
                yield f"{page.stem}, {number}", spec + "\n", printed[1] if printed else ""


def modules(page: str) -> Iterator[tuple[str, str]]:
    """Python files that a guide shows, each under a line that ends with its name."""
    yield from re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", (FOLDER / f"{page}.md").read_text(), re.M | re.S)


SHOWN = list(shown())


@pytest.mark.parametrize(("where", "spec", "printed"), SHOWN, ids=[each[0] for each in SHOWN])
def test_a_spec_of_a_guide_is_valid_and_has_the_nodes_that_the_guide_says(
    folder: Folder, where: str, spec: str, printed: str
) -> None:
    for file, text in modules(where.partition(",")[0]):
        folder.write(file, text)
    try:
        nodes = validate(folder.write("fleet.yaml", spec), platform=None, stack=None)
    except FleetError as error:
        if ELSEWHERE.search(str(error)):
            return
        raise
    assert printed in ("", f"fleet.yaml: valid; nodes: {', '.join(nodes)}.")


def test_guides_show_specs_that_are_checked_to_the_end() -> None:
    assert (
        len([spec for _, spec, printed in SHOWN if printed and not re.search("compose:|quadlets:|config:", spec)]) > 3
    )


def test_the_guide_to_a_first_fleet_shows_the_spec_that_a_new_fleet_has() -> None:
    template = (ROOT / "fleet/templates/fleet.yaml").read_text()
    assert template.replace("name: web", "name: shop") in [spec for where, spec, _ in SHOWN if "first-fleet" in where]


def test_the_index_has_every_guide() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text())
    assert sorted(linked) == [page.name for page in GUIDES]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_says_what_fleet_does_not_do_and_has_short_lines(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert "## What fleet does not do" in lines
    assert [line for line in lines if len(line) > LONGEST] == []
