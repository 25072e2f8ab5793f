"""The pages say what the models say: every key, and the defaults that they name. Their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import typer
import yaml
from pydantic import BaseModel

from fleet.cli.app import app
from fleet.cli.exit_statuses import TABLE
from fleet.library import LIBRARY, LibrarySnippet
from fleet.plan.rollout import Rollout
from fleet.spec.model import Authority, Certificate, FleetSpec, Generate, Group, Image, PrivateNetwork
from fleet.spec.schema import unsaid
from fleet.workloads import Container
from fleet.workloads.data_disks import DataDisk
from tests.commands import COMMANDS
from tests.models import whole
from tools import tree
from tools.cache import ROOT
from tools.refusals import refusals

DOCS = ROOT / "docs"
SPEC = (DOCS / "spec.md").read_text()


def test_the_reference_has_every_key_of_a_spec() -> None:
    page = (DOCS / "reference/spec.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert sum(len(model.model_fields) for model in whole(FleetSpec)) > 250
    for model in whole(FleetSpec):
        keys = re.findall(r"^- `(\w+)` \(", sections[model.__name__], re.M)
        assert keys == [field.alias or name for name, field in model.model_fields.items()]


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
    (row,) = re.findall(rf"^- `{use}`: .+(?:\n  .+)*", (DOCS / "library.md").read_text(), re.M)
    row = re.sub(r"\s+", " ", row)
    for name, field in kind.model_fields.items():
        if name not in ("use", "override"):
            assert f"`{name}`" in row, f"{use} has {name}"
            default = re.search(rf"`{name}` \(([^)`]+)\)", row)
            assert default is None or default[1] == str(field.default), f"{use}: {name}"
    named = set(re.findall(r"`([a-z_]+)`", row.partition("Parameters: ")[2]))
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


MARKDOWN = [ROOT / name for name in tree.files("*.md")]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_is_longer_than_120_characters_but_one_that_cannot_be_broken(page: Path) -> None:
    lines = page.read_text().splitlines()
    long = [f"{number}: {line}" for number, line in enumerate(lines, 1) if len(line) > 120 and " " in line.strip(" -")]
    assert long == []


@pytest.mark.parametrize("page", sorted((DOCS / "reference").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_of_the_reference_is_in_words_and_in_markdown_alone(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r":\w+:`|``|\bNone\b", text) == []


def test_every_rule_that_the_schema_does_not_have_is_a_sentence_of_the_reference() -> None:
    rules = [rule for model in whole(FleetSpec) for rule in unsaid(model).items()]
    assert len(rules) > 15
    assert [name for name, rule in rules if not re.fullmatch(r"[A-Z`].{8,}\.", rule)] == []


def test_every_number_that_is_a_time_or_a_size_has_its_unit_in_the_reference() -> None:
    page = "\n".join((DOCS / "reference" / name).read_text() for name in ("spec.md", "options-qemu.md", "report.md"))
    items = re.findall(r"^- `(\w+)` \(((?:whole )?number[^;)]*)[;)]", page, re.M)
    measures = r"timeout|interval|pause|settle|delay|period|seconds|minutes|days|gib|mib|bytes|cpus"
    measured = [(key, words) for key, words in items if re.search(measures, key)]
    assert len(measured) > 20
    assert [each for each in measured if " of " not in each[1]] == []


REFUSED = [
    (PrivateNetwork, "cidr", "Refused on `digitalocean`."),
    (DataDisk, "snapshot", "Refused on `qemu`, `libvirt`."),
    (Rollout, "strategy", "`surge` is refused on `qemu`, `gcp`, `libvirt`."),
    (Group, "pods", "Refused with `engine: docker`."),
    (Container, "pod", "Refused with `engine: docker`: Docker has no pods."),
    (Container, "pull", "With `engine: docker`, not `newer`."),
]


@pytest.mark.parametrize(("model", "key", "text"), REFUSED, ids=lambda each: str(getattr(each, "__name__", each)))
def test_the_reference_says_of_a_key_who_refuses_it(model: type[BaseModel], key: str, text: str) -> None:
    assert refusals(model)[key] == text


def test_what_nobody_refuses_has_no_such_sentence() -> None:
    assert refusals(DataDisk).keys() == {"snapshot"}
    assert "containers" not in refusals(Group)


def test_the_first_page_has_every_exit_status() -> None:
    (text,) = re.findall(r"^Exit status: (.+(?:\n.+)*)", (ROOT / "README.md").read_text(), re.M)
    said = {int(number) for number in re.findall(r"\b\d{1,3}\b", text.replace("FLEET_DEBUG=1", ""))}
    assert said == {number for number, _, _ in TABLE if number is not None}


def test_statuses_of_single_commands_are_of_commands_and_options_that_there_are() -> None:
    for _, command, _ in TABLE:
        words = command.split()[1:]
        if words:
            (known,) = [each for each in COMMANDS if each.words == (words[0],)]
            assert set(words[1:]) <= known.options


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


def typed(page: Path) -> Iterator[str]:
    """The lines of a page's blocks of code that call ``fleet``, as a shell has them, without what stands around."""
    text = page.read_text()
    code = [*re.findall(r"^```.*?^```", text, re.M | re.S), *re.findall(r"^ {4,}\S.*$", text, re.M)]
    for line in re.findall(r"^ *(?:- )?(?:\$ |run: )?((?:[A-Z_]+=\S* )*fleet [a-z-][^\n]*)$", "\n".join(code), re.M):
        for part in re.split(r" && |; | \| | > | \|\| | +# ", re.sub(r"^(?:[A-Z_]+=\S* )+", "", line)):
            if part.startswith("fleet "):
                # Of a usage, with all that may be left out.
                yield re.sub(r"[][]|(?<=\w)\|[\w|]+", "", part)


TYPED = [(page, line) for page in PAGES if page.name != "CHANGELOG.md" for line in typed(page) if "──" not in line]


def test_pages_show_what_is_typed() -> None:
    assert len({line for _, line in TYPED}) > 50


@pytest.mark.parametrize("line", sorted({line for _, line in TYPED}))
def test_every_command_that_a_page_shows_is_taken_by_the_command_lines_own_parser(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words, context = shlex.split(line)[1:], None
    while hasattr(command, "commands") and words and words[0] not in GLOBAL:
        name, *words = words
        assert name in command.commands, line
        command = command.get_command(context, name)
    context = click.Context(command, info_name="fleet", resilient_parsing=True)
    said, rest, _ = command.make_parser(context).parse_args(args=words)
    assert rest == [], "words that nothing takes"
    # One that has a callback is looked for where it is left out.
    needed = [each.name for each in command.params if each.param_type_name == "argument" and each.required]
    callbacks = {each.name for each in command.params if each.callback}
    assert [name for name in needed if said.get(name) is None and name not in callbacks] == []
