"""What states of stacks name of this platform. None of it may ever change: states of yesterday are read by it."""

from fleet.dynamic.tokens import OWN

MACHINE_TYPE = f"{OWN}QemuMachine"
DISK_TYPE = f"{OWN}QemuDisk"
MACHINE_PROVIDER = "fleet.platforms.qemu:MachineProvider"
DISK_PROVIDER = "fleet.platforms.qemu:DiskProvider"
WATCHER = "fleet.platforms.qemu_machine:Watcher"
STANDING = "fleet.platforms.qemu_machine:Standing"
MISSING = "fleet.platforms.qemu:missing"
