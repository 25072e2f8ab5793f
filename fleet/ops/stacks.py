"""Which stack a command is about that names none."""

from __future__ import annotations

import os
from pathlib import Path

from fleet.errors import UsageError
from fleet.ops.backend import Backend, backend_url
from fleet.project import Project, short_name


def known_stacks(project: Project) -> set[str]:
    """Names of a project's stacks, without asking a service: those with a config file, and those with a file of state.

    Args:
        project: The project.
    """
    files = Backend.of_stack(project, "any")
    return project.stacks | (files.stacks if files else set())


SPEC = "fleet.yaml"
"""The spec of a project whose stacks name none."""


def current_source() -> Path:
    """What a command is about that names no spec: this folder's spec, else its program.

    The spec is the one that the config of its stacks names (``fleet:spec``), else ``fleet.yaml``.

    Raises:
        UsageError: There is neither, or stacks name different specs.
    """
    folder = Path()
    if (project := Project.at(folder)) is None:
        if (folder / SPEC).exists():
            return folder / SPEC
        raise UsageError(
            f"Neither {SPEC} nor Pulumi.yaml is in this folder, and no spec is named.",
            fix="Name the spec, or the folder of a Pulumi program; `fleet new` makes a spec.",
        )
    specs = {config["fleet:spec"] for name in project.stacks if "fleet:spec" in (config := project.plain_config(name))}
    if len(specs) > 1:
        raise UsageError(
            f"The stacks of project {project.name} have several specs: {', '.join(sorted(specs))}.", fix="Name one."
        )
    spec = folder / next(iter(specs), SPEC)
    return spec if specs or spec.exists() else folder


def current_stack(spec: Path) -> str:
    """The stack of a spec's project that is meant where none is named.

    That is the one that is selected, as for plain ``pulumi``: ``PULUMI_STACK``, then ``pulumi stack select``. If none
    is selected, or it has been removed, it is the project's only one.

    Args:
        spec: The spec, in the project's folder or below it.

    Raises:
        UsageError: There is no project, no stack, or several and none of them is selected.
    """
    # Who named one means none else, whether it is there or not.
    if named := os.environ.get("PULUMI_STACK"):
        return named
    project = Project.around(spec)
    stacks = known_stacks(project)
    selected = project.selected_stack(backend_url(project))
    in_files = Backend.of_stack(project, "any") is not None
    if selected and (short_name(selected) in stacks or not in_files):
        return selected
    if len(stacks) == 1:
        return stacks.pop()
    if stacks:
        raise UsageError(
            f"Project {project.name} has several stacks, and none is selected: {', '.join(sorted(stacks))}.",
            fix="Name one with `--stack`, or select one: `pulumi stack select NAME` in its folder.",
        )
    raise UsageError(
        f"Project {project.name} has no stack.",
        fix=f"One begins with its config, {project.settings_file('NAME').name}, whose `fleet:platform` says where the "
        "nodes are; `fleet up` makes it.",
    )
