"""The pages say what the models say: every key, and the defaults that they name."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from fleet.library import LIBRARY, LibrarySnippet
from fleet.spec.model import Authority, Certificate, FleetSpec, Generate, Group, Image
from tests.models import models

DOCS = Path(__file__).parents[2] / "docs"
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
