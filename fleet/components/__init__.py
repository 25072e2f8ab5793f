"""Pulumi components that know no provider: Fleet, NodeGroup, Node, DataDisk, Gate, Ready."""

from fleet.components.gate import Gate
from fleet.components.group import Fleet, NodeGroup
from fleet.components.node import DataDisk, Node
from fleet.components.ready import Ready

__all__ = ["DataDisk", "Fleet", "Gate", "Node", "NodeGroup", "Ready"]
