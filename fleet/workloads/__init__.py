"""What runs on a node: containers and secrets as Podman Quadlet files, data disks as mounts. No Pulumi, no platform."""

from fleet.workloads.container import Container, HealthCheck, Port, SecretUse
from fleet.workloads.data_disks import DataDisk, DiskName, data_disk_snippet
from fleet.workloads.quadlet import container_file
from fleet.workloads.snippet import workload_snippet

__all__ = [
    "Container",
    "DataDisk",
    "DiskName",
    "HealthCheck",
    "Port",
    "SecretUse",
    "container_file",
    "data_disk_snippet",
    "workload_snippet",
]
