"""The JSON Schema of a spec: editors mark what cannot be, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, create_model

from fleet import platforms
from fleet.core_schema import Loader
from fleet.images import ImageLock
from fleet.model import Model, examples
from fleet.spec.model import FleetSpec
from fleet.spec.schema import schema_of, schema_text, spec_schema
from tests.models import REQUIRED, VALUES, built, fields, places, whole
from tests.unit.conftest import READER, difference
from tools.cache import ROOT

SCHEMA = spec_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SPECS = sorted(
    file
    for pattern in ("stacks/*.yaml", "examples/*/*.yaml", "fleet/templates/*.yaml")
    for file in ROOT.glob(pattern)
    if re.search(r"^groups:", file.read_text(), re.MULTILINE)
)
NEEDED = {
    **REQUIRED, "node": 8080, "interface": "eth0", "address": "10.0.0.2/24", "addresses": ["10.0.0.2/24"],
    "strategy": "periodic", "days": ["Sat"], "start": "22:30", "minutes": 60,
}  # fmt: skip
ANYTHING = {("groups", "a", "rollout", "window"), ("groups", "a", "ready", 0, "http", "json", "a")}
"""Places of which the schema does not say what may stand there."""
OPTIONS = {name: platforms.platform_class(name).options_model for name in platforms.names()}
PLACES = [place for place in places(FleetSpec) if place[0] != "name"]


def wrong(document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def document(place: tuple[str | int, ...], value: Any) -> Any:
    """A spec with a value at a place, as JSON has it: its keys are text."""
    made = {"name": "web", "groups": {"web": {}}, **built(FleetSpec, place, value, NEEDED)}
    if place[-1] in ("successes", "interval") and "ready" in place:
        made["groups"]["a"]["ready"][0]["tcp"] = {"port": 8080}
    return _text_keys(made)


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(each) for key, each in value.items()}
    return [_text_keys(each) for each in value] if isinstance(value, list) else value


def test_the_schema_is_one_and_the_same_every_time() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert schema_text() == schema_text()


@pytest.mark.parametrize("file", SPECS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_spec_of_the_repository_fits(file: Path) -> None:
    assert wrong(_text_keys(yaml.load(file.read_text(), Loader))) == []


def test_every_example_of_the_page_about_specs_fits() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/spec.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        # What is left out there is not a part of it.
        shown = yaml.load(re.sub(r"(, )?\.\.\.(?=})", "", block), Loader)
        assert wrong(_text_keys({"name": "web", "groups": {"web": {}}, **shown})) == [], block


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("examples/*/*.md")])
BLOCKS = [
    (page.name, block)
    for page in dict.fromkeys(PAGES)
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    if re.search(r"^groups:", block, re.MULTILINE) and "..." not in block
]


def test_pages_show_specs() -> None:
    assert BLOCKS


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_every_spec_that_a_page_shows_fits_schema_and_model(page: str, block: str) -> None:
    shown = {"name": "web", **yaml.load(block, Loader)}
    assert wrong(_text_keys(shown)) == []
    FleetSpec.model_validate(shown)


def test_what_is_one_of_several_is_marked_where_it_is_none_or_two() -> None:
    for probe in ({}, {"tcp": {"port": 1}, "http": {"port": 1}}):
        assert wrong({"name": "web", "groups": {"web": {"ready": [probe]}}}) != []
    for source in ({}, {"config": "a", "env": "A"}, {"env": ""}):
        assert wrong({"name": "web", "groups": {"web": {}}, "secrets": {"a": source}}) != []


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_placeholder_may_stand_wherever_variables_fill(place: tuple[str | int, ...]) -> None:
    assert wrong(document(place, "${name}")) == []


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place not in ANYTHING], ids=lambda place: ".".join(map(str, place))
)
def test_what_is_no_scalar_is_marked_where_one_belongs(place: tuple[str | int, ...]) -> None:
    assert wrong(document(place, {"no such key": {"no": [{"thing": []}]}})) != []


def test_a_key_that_does_not_exist_is_marked_at_every_depth() -> None:
    for text in (
        "{name: web, groups: {web: {}}, cuont: 1}",
        "{name: web, groups: {web: {cuont: 1}}}",
        "{name: web, groups: {web: {containers: {a: {image: a.org/b, prots: []}}}}}",
        "{name: web, groups: {web: {snippets: [{use: hostname, colour: red}]}}}",
    ):
        assert len(wrong(yaml.safe_load(text))) == 1, text


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every mapping of a schema, and what is said of it."""
    for key, part in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if key == "properties":
            yield from part.items()
        # What is one of several is said of keys that are described beside it.
        if isinstance(part, dict | list) and key != "oneOf":
            yield from properties(part)


def test_every_key_says_what_it_is() -> None:
    silent = [key for key, part in properties(SCHEMA) if "description" not in part]
    assert silent == []
    assert len([*properties(SCHEMA)]) > 200


ROOTS: list[type[BaseModel]] = [FleetSpec, *OPTIONS.values()]
PARTS = sorted({part for root in ROOTS for part in whole(root)}, key=lambda model: (model.__module__, model.__name__))


@pytest.mark.parametrize("model", PARTS, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_every_field_has_an_example_that_the_model_and_the_schema_take(model: type[BaseModel]) -> None:
    shown = examples(model)
    about = {field.alias or name: field for name, field in model.model_fields.items()}
    assert shown.keys() == about.keys()
    for key, field in about.items():
        # Alone, since not all of them can stand beside each other.
        alone = create_model("Alone", __base__=Model, x=(Any if field.annotation is None else field.annotation, field))
        shown_alone = {field.alias or "x": shown[key]}
        alone.model_validate(shown_alone)
        checker = Draft202012Validator(schema_of(alone))
        assert [error.message for error in checker.iter_errors(_text_keys(shown_alone))] == [], key


READ: dict[str, type[BaseModel]] = {"spec": FleetSpec, "lock": ImageLock, **OPTIONS}


@pytest.mark.parametrize("kind", READ)
def test_models_and_schema_agree_on_values_of_every_type_in_every_field(kind: str) -> None:
    model = READ[kind]
    validator = READER(SCHEMA if model is FleetSpec else schema_of(model))
    whole_of = {"name": "web", "groups": {"web": {}}} if model is FleetSpec else {}
    differ = {
        f"{'.'.join(map(str, where))}, {label}": problem
        for where, field in fields(model)
        if field
        for label, value in VALUES.items()
        if (problem := difference({**whole_of, **built(model, where, value, NEEDED)}, model, validator))
    }
    assert differ == {}
