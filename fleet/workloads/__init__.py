"""What runs on a node: containers and secrets as Podman Quadlet files, data disks as mounts. No Pulumi, no platform."""

from fleet.workloads.compose import read_compose
from fleet.workloads.container import Container, FileMount, HealthCheck, NetworkUse, Schedule, SecretUse
from fleet.workloads.data_disks import DataDisk, DiskName, data_disk_snippet
from fleet.workloads.fields import Name, Port, Text
from fleet.workloads.quadlet import container_file
from fleet.workloads.resources import Build, ImagePull, Network, Pod, Subnet, User, Volume
from fleet.workloads.snippet import workload_snippet
from fleet.workloads.workload import Workload

__all__ = [
    "Build",
    "Container",
    "DataDisk",
    "DiskName",
    "FileMount",
    "HealthCheck",
    "ImagePull",
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
    "read_compose",
    "workload_snippet",
]
