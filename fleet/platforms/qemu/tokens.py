"""What states of stacks name of this platform. None of it may ever change: states of yesterday are read by it."""

MACHINE_TYPE = "pulumi-python:dynamic/fleet:QemuMachine"
PROVIDERS = "fleet.platforms.qemu"
"""The module that pickled providers name: this package, whose attributes they are."""
WATCHER = "fleet.platforms.qemu_machine:Watcher"
STANDING = "fleet.platforms.qemu_machine:Standing"
MISSING = "fleet.platforms.qemu:missing"
