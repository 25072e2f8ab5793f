"""The declarative spec: its schema, and its loader. :mod:`fleet.planner` plans what it says."""

from fleet.spec.loader import LoadedSpec, load_image, load_references, load_sources, load_spec, load_tags, load_version
from fleet.spec.model import FleetSpec
from fleet.spec.python import SpecConfig
from fleet.spec.values import Resolver

__all__ = [
    "FleetSpec",
    "LoadedSpec",
    "Resolver",
    "SpecConfig",
    "load_image",
    "load_references",
    "load_sources",
    "load_spec",
    "load_tags",
    "load_version",
]
