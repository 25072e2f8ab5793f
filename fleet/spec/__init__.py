"""The declarative spec: read, planned, and deployed by :func:`fleet.spec.deploy.main` or the ``fleet`` command."""

from fleet.spec.loader import LoadedSpec, load_spec
from fleet.spec.model import FleetSpec
from fleet.spec.plan import FleetPlan, lock_path, plan_fleet
from fleet.spec.secrets import masked_secrets, resolve_secrets

__all__ = [
    "FleetPlan",
    "FleetSpec",
    "LoadedSpec",
    "load_spec",
    "lock_path",
    "masked_secrets",
    "plan_fleet",
    "resolve_secrets",
]
