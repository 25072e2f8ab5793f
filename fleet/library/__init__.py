"""Snippets that come with fleet: each is small and the usual solution to one task.

A spec names one by ``use``, with its parameters beside it: ``{use: time-zone, zone: Europe/Berlin}``.
"""

from fleet.library.access import SerialAutologin, SshHardening, SshKeys, authorized_keys
from fleet.library.base import LibrarySnippet, NodeName
from fleet.library.identity import Hostname, StaticNetwork, TimeZone, hostname_file
from fleet.library.system import METADATA_ADDRESSES, MetadataGuard, NodeExporter, PodmanPrune, Sysctl, Zincati, Zram

LIBRARY: tuple[type[LibrarySnippet], ...] = (
    Hostname,
    MetadataGuard,
    NodeExporter,
    PodmanPrune,
    SerialAutologin,
    SshHardening,
    SshKeys,
    StaticNetwork,
    Sysctl,
    TimeZone,
    Zincati,
    Zram,
)
"""All of them, by name."""

__all__ = [
    "LIBRARY",
    "METADATA_ADDRESSES",
    "Hostname",
    "LibrarySnippet",
    "MetadataGuard",
    "NodeExporter",
    "NodeName",
    "PodmanPrune",
    "SerialAutologin",
    "SshHardening",
    "SshKeys",
    "StaticNetwork",
    "Sysctl",
    "TimeZone",
    "Zincati",
    "Zram",
    "authorized_keys",
    "hostname_file",
]
