"""Composition: Butane snippets in, one canonical Ignition config out. Nothing here knows Pulumi."""

from fleet.config._transpiler import Transpiler
from fleet.config.delivery import compressed, deliver, packed
from fleet.config.ignored import not_ignored
from fleet.config.machine import NEWEST_SPEC, compose, compose_all
from fleet.config.project import read_project
from fleet.config.snippets import Snippet

__all__ = [
    "NEWEST_SPEC",
    "Snippet",
    "Transpiler",
    "compose",
    "compose_all",
    "compressed",
    "deliver",
    "not_ignored",
    "packed",
    "read_project",
]
