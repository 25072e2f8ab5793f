"""The plan's words: what a fleet is to be, node by node. They know nobody; everything else knows them."""

from fleet.plan.config import Delivery, Limits, MachineConfig, configs_in, unpacked
from fleet.plan.history import Change, DiskChange, NodeChange, PastRollout
from fleet.plan.image import Disk, LockedImage
from fleet.plan.machine import DiskLink, Interface, Needs, Peer, ReportAccess, Watch
from fleet.plan.node import ANYWHERE, DiskPlan, DrainPlan, FleetPlan, GroupPlan, NodePlan, PortPlan, StateEntry
from fleet.plan.platform import PlanningPlatform
from fleet.plan.probe import SSH_PORT, Probe, probe_kinds
from fleet.plan.report import REPORT_PORT, Problem, Report, UnitReport, read_report
from fleet.plan.rollout import Rollout

__all__ = [
    "ANYWHERE",
    "REPORT_PORT",
    "SSH_PORT",
    "Change",
    "Delivery",
    "Disk",
    "DiskChange",
    "DiskLink",
    "DiskPlan",
    "DrainPlan",
    "FleetPlan",
    "GroupPlan",
    "Interface",
    "Limits",
    "LockedImage",
    "MachineConfig",
    "Needs",
    "NodeChange",
    "NodePlan",
    "PastRollout",
    "Peer",
    "PlanningPlatform",
    "PortPlan",
    "Probe",
    "Problem",
    "Report",
    "ReportAccess",
    "Rollout",
    "StateEntry",
    "UnitReport",
    "Watch",
    "configs_in",
    "probe_kinds",
    "read_report",
    "unpacked",
]
