"""What is written about platforms, and the files that begin a stack on one, against the platforms that there are."""

from __future__ import annotations

import re

import pytest
import yaml

from fleet.platforms import names, platform_class
from tools.cache import ROOT

DOCS = ROOT / "docs"


def test_the_table_of_platforms_has_each_with_its_page() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(platforms/(\w+)\.md\) \|", (DOCS / "platforms.md").read_text(), re.M)
    assert sorted(rows) == sorted((name, name) for name in names())
    assert {page.stem for page in (DOCS / "platforms").glob("*.md")} == set(names())


@pytest.mark.parametrize("name", names())
def test_a_platforms_page_says_its_options_by_their_names_of_today(name: str) -> None:
    page = (DOCS / "platforms" / f"{name}.md").read_text()
    model = platform_class(name).options_model
    shown = set(re.findall(r"`(\w+)[`:]", page.partition("Options under ")[2]))
    assert shown >= model.model_fields.keys()
    assert not shown & model.renamed.keys()


@pytest.mark.parametrize("name", names())
def test_an_option_is_explained_where_it_is_declared(name: str) -> None:
    model = platform_class(name).options_model
    attributes, _, _ = (model.__doc__ or "").partition("Examples:")
    explained = re.findall(r"^        (\w+): [A-Z\"]", attributes, re.M)
    assert sorted(explained) == sorted(model.model_fields)


@pytest.mark.parametrize("name", names())
def test_the_project_in_stacks_begins_a_stack_on_a_platform_as_fleet_new_does(name: str) -> None:
    kind = platform_class(name)
    config = yaml.safe_load(kind.stack_file())["config"]
    assert config["fleet:platform"] == name
    file = ROOT / "stacks" / f"Pulumi.{kind.first_stack or name}.yaml"
    if file.exists():
        # A stack that was made since, as by `make demo`, has more.
        assert yaml.safe_load(file.read_text())["config"].items() >= config.items()


def test_there_is_a_stack_file_in_stacks_for_what_the_demo_runs_on() -> None:
    assert (ROOT / "stacks" / f"Pulumi.{platform_class('qemu').first_stack}.yaml").exists()
