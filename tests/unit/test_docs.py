"""The pages say what the models say: every key, and the defaults that they name. Their links lead somewhere."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import BaseModel

from fleet.library import LIBRARY, LibrarySnippet
from fleet.spec.model import Authority, Certificate, FleetSpec, Generate, Group, Image
from tests.commands import COMMANDS
from tests.models import models
from tools.cache import ROOT

DOCS = ROOT / "docs"
SPEC = (DOCS / "spec.md").read_text()
CODE = re.findall(r"```yaml\n.*?```|`[^`\n]+`", SPEC, re.DOTALL)


def documented(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str]]:
    """Every key of a model, and of those in it, but for the library's, which have a page of their own."""
    if model in seen or issubclass(model, LibrarySnippet):
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, field.alias or name
        for inner in models(field.annotation):
            yield from documented(inner, seen)


def test_the_page_of_the_spec_has_every_key() -> None:
    keys, words = list(documented(FleetSpec, set())), set(re.findall(r"\w+", " ".join(CODE)))
    assert len(keys) > 150
    assert [key for key in keys if key[1] not in words] == []


DEFAULTS: list[tuple[type[BaseModel], dict[str, str]]] = [
    (Generate, {"bytes": "32", "encoding": "base64url", "prefix": '""', "suffix": '""'}),
    (Authority, {"days": "3650"}),
    (Certificate, {"days": "365", "renew_days": "90"}),
    (Image, {"stream": "stable"}),
    (Group, {"size": "small", "metadata_guard": "true", "ready_timeout": "900"}),
]
"""Defaults as the page of the spec writes them."""


@pytest.mark.parametrize(("model", "written"), DEFAULTS, ids=lambda model: getattr(model, "__name__", ""))
def test_the_defaults_that_the_page_of_the_spec_names_are_the_models(
    model: type[BaseModel], written: dict[str, str]
) -> None:
    for key, text in written.items():
        assert re.search(rf"\b{key}: {text}(?!\w)", SPEC), key
        assert model.model_fields[key].default == yaml.safe_load(text), key


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_the_page_of_the_library_has_every_parameter_and_its_default(kind: type[LibrarySnippet]) -> None:
    use = typing.get_args(kind.model_fields["use"].annotation)[0]
    (row,) = [line for line in (DOCS / "library.md").read_text().splitlines() if line.startswith(f"| `{use}` |")]
    for name, field in kind.model_fields.items():
        if name not in ("use", "override"):
            assert f"`{name}`" in row, f"{use} has {name}"
            default = re.search(rf"`{name}` \(([^)`]+)\)", row)
            assert default is None or default[1] == str(field.default), f"{use}: {name}"
    named = set(re.findall(r"`([a-z_]+)`", row.split("|")[2]))
    assert named <= set(kind.model_fields), "a parameter that it does not have"


PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("stacks/*.md")])


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """What links can name of a page: its headings, as hosts of repositories make anchors of them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_in_the_repository_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        url = urlsplit(link)
        if url.scheme:
            continue
        target = page.parent / url.path if url.path else page
        assert target.exists(), link
        assert not url.fragment or url.fragment in anchors(target), link


GLOBAL = {"--version", "--help", "--install-completion", "--show-completion"}
"""Options of ``fleet`` itself and of every command."""


def calls(page: Path) -> list[list[str]]:
    """The words of every call of ``fleet`` in a page's code; of a shell's line up to its comment or next command."""
    code = re.findall(r"`fleet ([^`\n]+)`|^(?: +(?:\$ )?|\$ )fleet (?!──)([^\n]+)", page.read_text(), re.M)
    return [re.split(r" #| && |; | \| ", inline or block)[0].split() for inline, block in code]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_only_commands_and_options_that_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # names what earlier releases had
        return
    for words in calls(page):
        matching = [each for each in COMMANDS if each.words[0] == words[0] or words[0] in GLOBAL]
        assert matching, words
        known = GLOBAL.union(*(each.options for each in matching))
        own = words[: words.index("--")] if "--" in words else words
        options = {option for word in own for option in re.findall(r"^\[?(--?[a-z][\w-]*)", word)}
        assert options <= known, words
