"""Reference pages made of the models of what users write, and of the command line: see :mod:`tools.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import fleet.cli  # noqa: F401 (adds every command)
from fleet.cli.app import app
from fleet.model import attributes, examples
from fleet.platforms import platform_class
from fleet.spec.model import FleetSpec
from fleet.spec.schema import unsaid
from tools.refusals import refusals
from tools.wording import classes, item, limits, measured, paragraph, type_words, yaml_words


def spec() -> str:
    """The page ``spec.md``."""
    parts = _models(FleetSpec)
    head = "# Keys of a spec\n\n" + paragraph(
        "Made by `make docs` from the models, as the JSON Schema is that `fleet schema` prints. What the keys are for "
        "and how they go together is on the page [Spec](../spec.md). Each section is a mapping; a key that is not "
        "marked as needed may be left out. Where a platform, with the options that it has by default, or Docker "
        "refuses a key, that is said."
    )
    return head + "".join(map(_section, parts)) + _rules(parts)


def options(platform: str) -> str:
    """The page of a platform's options."""
    parts = _models(platform_class(platform).options_model)
    head = f"# Options of `{platform}`\n\n" + paragraph(
        f"Made by `make docs` from the models, as the JSON Schema is that `fleet schema --options {platform}` prints. "
        f"They are `fleet:{platform}` in `Pulumi.<stack>.yaml`; see [the platform's page](../platforms/{platform}.md)."
    )
    return head + "".join(map(_section, parts))


def commands() -> str:
    """The page ``commands.md``."""
    head = "# Commands\n\n" + paragraph(
        "Made by `make docs` from the command line's own help. [Exit statuses](exit-statuses.md) have a page."
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
        yield "\n".join(paragraph(" ".join(part.split())) for part in (command.help or "").split("\n\n"))
        items = [f"- `{each.name.upper()}`: {each.help}" for each in arguments if each.help]
        for each in command.params:
            if each.param_type_name == "option" and not each.hidden and each.help:
                items.append(f"- `{', '.join((*each.opts, *each.secondary_opts))}`: {each.help}")
        if items:
            yield "\n" + "".join(paragraph(item, "  ") for item in items)


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all in it, each once, in the order in which they are met."""
    seen = [root]
    for model in seen:
        for field in model.model_fields.values():
            seen += [each for each in classes(field.annotation) if each not in seen]
    return seen


def _section(model: type[BaseModel]) -> str:
    about, shown, refused = attributes(model), examples(model), refusals(model)
    lead = " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split()).replace("``", "`")
    if len(refused) == len(model.model_fields) and len(set(refused.values())) == 1:
        lead += f" {next(iter(refused.values()))}"
        refused = {}
    made = [f"\n## {model.__name__}\n\n", paragraph(lead), "\n"]
    for name, field in model.model_fields.items():
        key, text = field.alias or name, about.get(name, "")
        links = {each: f"#{each.__name__.lower()}" for each in classes(field.annotation)}
        facts = [measured(type_words(field.annotation, links=links), key, text), *limits(field.metadata)]
        if field.is_required():
            facts.append("needed")
        else:
            default = field.get_default(call_default_factory=True)
            if default not in (None, "", PydanticUndefined) and default != [] and default != {}:
                facts.append(f"default `{yaml_words(default)}`")
        sentences = (text, refused.get(name, ""), f"Example: `{key}: {yaml_words(shown[key])}`.")
        made.append(item(key, facts, " ".join(filter(None, sentences))))
    return "".join(made)


def _rules(parts: list[type[BaseModel]]) -> str:
    head = "\n## Rules that the schema does not have\n\n" + paragraph(
        "These are checked of what stands in several keys, or in several parts of a spec; `fleet validate` says what "
        "is wrong, and where."
    )
    rules = [(part.__name__, rule) for part in parts for rule in unsaid(part).values()]
    return head + "\n" + "".join(paragraph(f"- [{name}](#{name.lower()}): {rule}", "  ") for name, rule in rules)
