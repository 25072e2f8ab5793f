"""Planning: from a loaded spec to the plan of every node. Pure: no Pulumi, no network."""

from fleet.planner.plan import plan_fleet, plan_loaded, plan_spec

__all__ = ["plan_fleet", "plan_loaded", "plan_spec"]
