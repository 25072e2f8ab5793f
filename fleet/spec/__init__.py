"""The declarative spec: read, planned, and deployed by :func:`fleet.spec.deploy.main` or the ``fleet`` command."""

from fleet.platforms.base import FleetPlan
from fleet.spec.loader import LoadedSpec, SpecFile, load_image, load_tags
from fleet.spec.model import FleetSpec
from fleet.spec.plan import plan_fleet, plan_spec
from fleet.spec.program import SpecConfig
from fleet.spec.values import Resolver

__all__ = [
    "FleetPlan",
    "FleetSpec",
    "LoadedSpec",
    "Resolver",
    "SpecConfig",
    "SpecFile",
    "load_image",
    "load_tags",
    "plan_fleet",
    "plan_spec",
]
