"""What makes the bytes of nodes' configs, by the spec's version.

A config's bytes come from these functions alone, and planning calls them through here. A version that changes one names
another function, or the same one with a parameter bound: ``replace(RENDERERS[1], workload=partial(workload_snippet,
...))``. Which change needs a version, and how one is added: :mod:`fleet.spec.versions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet.config import Snippet, compose_all, deliver
from fleet.library import LibrarySnippet, NodeName, authorized_keys, hostname_file
from fleet.plan import Delivery, MachineConfig
from fleet.planner.network import hosts_snippet, interface_snippet
from fleet.spec.versions import FIRST
from fleet.workloads import data_disk_snippet, report_snippet, workload_snippet


def _hostname(node: str) -> Snippet:
    config = {"ignition": {"version": "3.0.0"}, "storage": {"files": [hostname_file(node)]}}
    return Snippet.from_ignition(f"hostname of {node}", config)


def _access(keys: list[str]) -> Snippet:
    config = {"ignition": {"version": "3.0.0"}, **authorized_keys("core", keys)}
    return Snippet.from_ignition("ssh_authorized_keys of the spec", config)


def _library(ref: LibrarySnippet, node: NodeName) -> Snippet:
    return ref.snippet(node)


@dataclass(frozen=True)
class Renderer:
    """How specs of a version are rendered.

    Attributes:
        hostname: A node's name, by which it knows itself.
        access: Who may log in as ``core``.
        hosts: The names of the private network.
        interface: A node's end of the private network.
        data_disk: A data disk's units.
        workload: Containers, and all that belongs to them.
        report: What tells how a node is.
        library: A snippet of the library.
        compose_all: Configs from snippets; what Butane and Ignition write.
        deliver: User data from a config.
    """

    hostname: Callable[[str], Snippet] = _hostname
    access: Callable[[list[str]], Snippet] = _access
    hosts: Callable[..., Snippet] = hosts_snippet
    interface: Callable[..., Snippet] = interface_snippet
    data_disk: Callable[..., Snippet] = data_disk_snippet
    workload: Callable[..., Snippet] = workload_snippet
    report: Callable[..., Snippet] = report_snippet
    library: Callable[[LibrarySnippet, NodeName], Snippet] = _library
    compose_all: Callable[..., list[MachineConfig]] = compose_all
    deliver: Callable[..., Delivery] = deliver


RENDERERS: dict[int, Renderer] = {FIRST: Renderer()}
"""By the number of the spec's version."""
