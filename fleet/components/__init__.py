"""Pulumi components that know no provider: :class:`Node`, :class:`DataDisk`, :class:`Ready`."""

from fleet.components.node import DataDisk, Node
from fleet.components.ready import Ready

__all__ = ["DataDisk", "Node", "Ready"]
