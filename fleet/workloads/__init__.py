"""What runs on a node: containers and secrets as Podman Quadlet files, data disks as mounts. No Pulumi, no platform.

Compose files are read by :mod:`fleet.workloads.compose`, which is not imported here: it takes as long as all the rest.
"""

from fleet.workloads.container import (
    Container,
    FileMount,
    HealthCheck,
    ImageReference,
    NetworkUse,
    Schedule,
    SecretUse,
)
from fleet.workloads.data_disks import DataDisk, DiskName, data_disk_snippet
from fleet.workloads.fields import Name, Port, Text
from fleet.workloads.quadlet import container_file
from fleet.workloads.report import report_snippet
from fleet.workloads.resources import Build, ImagePull, Network, Pod, Subnet, User, Volume
from fleet.workloads.snippet import workload_snippet
from fleet.workloads.times import CalendarEvent
from fleet.workloads.workload import Workload

__all__ = [
    "Build",
    "CalendarEvent",
    "Container",
    "DataDisk",
    "DiskName",
    "FileMount",
    "HealthCheck",
    "ImagePull",
    "ImageReference",
    "Name",
    "Network",
    "NetworkUse",
    "Pod",
    "Port",
    "Schedule",
    "SecretUse",
    "Subnet",
    "Text",
    "User",
    "Volume",
    "Workload",
    "container_file",
    "data_disk_snippet",
    "report_snippet",
    "workload_snippet",
]
