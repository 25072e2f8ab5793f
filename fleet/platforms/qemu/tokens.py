"""What states of stacks name of this platform. None of it may ever change: states of yesterday are read by it."""

from fleet.dynamic.tokens import OWN

MACHINE_TYPE = f"{OWN}QemuMachine"
DISK_TYPE = f"{OWN}QemuDisk"
MACHINE_PROVIDER = "fleet.platforms.qemu:MachineProvider"
DISK_PROVIDER = "fleet.platforms.qemu:DiskProvider"
WATCHER = "fleet.platforms.qemu_machine:Watcher"
STANDING = "fleet.platforms.qemu_machine:Standing"
MISSING = "fleet.platforms.qemu:missing"

_SERIAL_LENGTH = 20
"""virtio-blk's limit for a serial number, by which udev names the device."""


def disk_serial(name: str) -> str:
    """The serial number of a data disk: ``/dev/disk/by-id/virtio-<serial>`` on the node, whose config names it."""
    return f"data-{name}"[:_SERIAL_LENGTH]
