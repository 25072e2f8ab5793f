"""Containers and their secrets, compiled to Podman Quadlet files. Nothing here knows Pulumi or a platform."""

from fleet.workloads.container import Container, HealthCheck, Port, SecretUse
from fleet.workloads.quadlet import container_file
from fleet.workloads.snippet import workload_snippet

__all__ = ["Container", "HealthCheck", "Port", "SecretUse", "container_file", "workload_snippet"]
