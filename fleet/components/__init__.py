"""Pulumi components that know no provider: Node, DataDisk, NodeGroup and Fleet."""
