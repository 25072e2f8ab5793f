"""Reference pages made of the models of what users write, and of the command line: see :mod:`tools.reference`."""

from __future__ import annotations

import json
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

import fleet.cli  # noqa: F401 (adds every command)
from fleet.cli.app import app
from fleet.model import attributes, examples
from fleet.platforms import platform_class
from fleet.spec.model import FleetSpec
from fleet.spec.schema import unsaid

_WIDTH = 118


def spec() -> str:
    """The page ``spec.md``."""
    parts = _models(FleetSpec)
    head = "# Keys of a spec\n\n" + _text(
        "Made by `make docs` from the models, as the JSON Schema is that `fleet schema` prints. What the keys are for "
        "and how they go together is on the page [Spec](../spec.md). Each section is a mapping; a key that is not "
        "marked as needed may be left out."
    )
    return head + "".join(map(_section, parts)) + _rules(parts)


def options(platform: str) -> str:
    """The page of a platform's options."""
    parts = _models(platform_class(platform).options_model)
    head = f"# Options of `{platform}`\n\n" + _text(
        f"Made by `make docs` from the models, as the JSON Schema is that `fleet schema --options {platform}` prints. "
        f"They are `fleet:{platform}` in `Pulumi.<stack>.yaml`; see [the platform's page](../platforms/{platform}.md)."
    )
    return head + "".join(map(_section, parts))


def commands() -> str:
    """The page ``commands.md``."""
    head = "# Commands\n\n" + _text(
        "Made by `make docs` from the command line's own help. Exit statuses: 0 done; 1 failed; 2 wrong usage; 130, "
        "143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP."
    )
    return head + "".join(_commands(typer.main.get_command(app), ("fleet",)))


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
            continue
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = [each.name.upper() if each.required else f"[{each.name.upper()}]" for each in arguments]
        yield f"\n## `{' '.join((*words, name, *usage))}`\n\n"
        yield "\n".join(_text(" ".join(part.split())) for part in (command.help or "").split("\n\n"))
        items = [f"- `{each.name.upper()}`: {each.help}" for each in arguments if each.help]
        for each in command.params:
            if each.param_type_name == "option" and not each.hidden and each.help:
                items.append(f"- `{', '.join((*each.opts, *each.secondary_opts))}`: {each.help}")
        if items:
            yield "\n" + "".join(_text(item, "  ") for item in items)


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all in it, each once, in the order in which they are met."""
    seen = [root]
    for model in seen:
        for field in model.model_fields.values():
            seen += [each for each in _inside(field.annotation) if each not in seen]
    return seen


def _inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return list(dict.fromkeys(each for part in typing.get_args(annotation) for each in _inside(part)))


def _section(model: type[BaseModel]) -> str:
    about, shown = attributes(model), examples(model)
    lead = " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split()).replace("``", "`")
    made = [f"\n## {model.__name__}\n\n", _text(lead), "\n"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        facts = [_type(field.annotation), *_limits(field.metadata)]
        if field.is_required():
            facts.append("needed")
        else:
            default = field.get_default(call_default_factory=True)
            if default not in (None, "", PydanticUndefined) and default != [] and default != {}:
                facts.append(f"default `{_yaml(default)}`")
        text = f"- `{key}` ({'; '.join(facts)}): {about.get(name, '')} Example: `{key}: {_yaml(shown[key])}`."
        made.append(_text(text, "  "))
    return "".join(made)


def _rules(parts: list[type[BaseModel]]) -> str:
    head = "\n## Rules that the schema does not have\n\n" + _text(
        "Functions of the models check what stands in several keys, or what only other parts of a spec tell; `fleet "
        "validate` says what they find."
    )
    return head + "\n" + "".join(f"- `{name}`\n" for part in parts for name in unsaid(part))


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in arguments if each is not type(None)))
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"by name: {_type(arguments[1])}"
    words = {str: "text", int: "whole number", float: "number", bool: "switch", Any: "see below"}
    if annotation in words:
        return words[annotation]
    name = getattr(annotation, "__name__", str(annotation))
    return f"[{name}](#{name.lower()})" if _inside(annotation) else name


def _limits(metadata: list[Any]) -> Iterator[str]:
    words = {"ge": "{} at least", "gt": "more than {}", "le": "{} at most", "lt": "less than {}"}
    lengths = {"min_length": "length {} at least", "max_length": "length {} at most"}
    for constraint in metadata:
        for name, text in (words | lengths).items():
            if getattr(constraint, name, None) is not None:
                yield text.format(getattr(constraint, name))


def _yaml(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, by_alias=True), ensure_ascii=False).replace("`", "'")


def _text(text: str, indent: str = "") -> str:
    """A paragraph, or an item of a list, in lines."""
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) + "\n"
