"""Data disks as the node sees them: formatted if empty, grown, mounted.

A oneshot unit runs ``systemd-makefs``, which formats a device only if it finds nothing on it (systemd-makefs(8)), and
the mount unit requires it. Nothing here is required by ``local-fs.target``: a disk that is missing must not drop the
node into emergency mode, where SSH is gone too. Quadlet makes a service whose volumes lie under the mount point wait
for it (``RequiresMountsFor``), so a container never writes to the root disk in its place.

A disk may come late: a cloud attaches it to a machine that runs already, and an emulated host is slow. systemd would
give its device 90 seconds (``DefaultDeviceTimeoutSec``), then fail all that waits for it, and never try again. Here the
device's job has no time limit, as ``x-systemd.device-timeout=0`` of systemd.mount(5) would say it; containers wait on,
and start when it comes. That is not the group's ``ready_timeout``, a change of which must not re-provision nodes.

The rest of the node does not wait for ever: with a mount that comes before ``local-fs.target``, a disk that never comes
would leave the node without its network and SSH. So the mount has ``nofail`` (systemd.mount(5), "Default
Dependencies"), and a unit of its own, ``fleet-await-NAME``, holds up ``local-fs.target`` until the disk is mounted, its
mount has failed, or :data:`PATIENCE` seconds have passed. A unit of a user's own that says nothing of the mount starts
with the disk mounted, therefore; where the disk is missing, the mount point is made immutable (chattr(1)), so that what
would be written below it fails, instead of being on the root disk and under the mount later.

When a disk goes and comes back, what systemd stopped with it is started again: the device wants the mount unit, and
that the services (systemd starts what an active unit wants only when it becomes active, so what was stopped by hand
stays so). One that is back before all that goes with it has stopped is not noticed: that waits for its next going and
coming, or for ``systemctl start`` of the mount.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from fleet.config import Snippet
from fleet.config.ignition import drop_in, file, unit
from fleet.model import PLAIN, Grammar, Model
from fleet.plan.unit_name import AWAIT_DISK, escape_path

DiskName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$")]
"""Lower-case letters, digits and dashes, 15 at most: a virtio disk's serial number, by which it is found, has 20."""

PATIENCE = 120
"""Seconds for which the start of a node waits for a data disk; what needs the disk waits on."""

_WHO = r"([a-z_][a-z0-9_-]{0,31}|0|[1-9][0-9]{0,8})"
"""A user or group, by its name (useradd(8)) or number."""


_OWNED_BY = Grammar(
    f"({_WHO}(:{_WHO})?)?",
    lambda owner: f"{owner!r} is no owner: write USER or USER:GROUP, by their names or numbers",
)
_PERMISSIONS = Grammar(
    "([0-7]?[0-7]{3})?",
    lambda mode: f'{mode!r} are no permission bits: write an octal text such as "0750"',
)
_BELOW_VAR = Grammar(
    r"/var(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)+",
    lambda mount: (
        f"a data disk is mounted below /var, not at {mount!r}: Fedora CoreOS keeps data there, and /srv, /home and "
        "/opt are links into it; letters, digits and _.@- may be in the path"
    ),
)


class DataDisk(Model):
    """A disk of a node that outlives the node.

    Attributes:
        size_gib: Its size in GiB. It may grow later, not shrink.
        mount: Where it is mounted: an absolute path below ``/var``.
        format: Its file system. That of a disk which has one is never changed.
        snapshot: Before its node is re-provisioned, a snapshot of it is taken and kept, on platforms that have such.
        owner: Whose its root folder is: "USER" or "USER:GROUP", by name or number; by default root, and the user's own
            group. It is set whenever the disk is mounted, before what needs it starts; what is in it stays as it is.
        mode: The root folder's permission bits, an octal text such as "0750".

    Examples:
        size_gib: 10
        mount: /var/lib/db
        owner: app:app
        mode: "0750"
    """

    size_gib: Annotated[int, PLAIN] = Field(ge=1, le=65536)
    mount: Annotated[str, _BELOW_VAR]
    format: Literal["xfs", "ext4"] = "xfs"
    snapshot: Annotated[bool, PLAIN] = False
    owner: Annotated[str, _OWNED_BY] = ""
    mode: Annotated[str, _PERMISSIONS] = ""


def data_disk_snippet(name: str, disk: DataDisk, device: str, rule: str = "", services: Sequence[str] = ()) -> Snippet:
    """The units that mount a data disk.

    Args:
        name: The disk's name.
        disk: The disk.
        device: Its stable path on the node.
        rule: The udev rule that makes this path, where there has to be one.
        services: Services that need it and start with the node; they are started again when it comes back.
    """
    owner = f"fleet-owner-{name}.service" if disk.owner or disk.mode else ""
    mount = f"{escape_path(disk.mount)}.mount"
    makefs = f"fleet-makefs-{name}.service"
    label = f"fleet-label-{name}.service"
    device_unit = f"{escape_path(device)}.device"
    grow = f"systemd-growfs@{escape_path(disk.mount)}.service"
    values = {
        "name": name,
        "device": device,
        "device_unit": device_unit,
        "mount": mount,
        "path": disk.mount,
        "makefs": makefs,
        "format": disk.format,
        "wants": "\n".join(f"Wants={unit_name}" for unit_name in (grow, label, *filter(None, [owner]), *services)),
    }
    units = [
        unit(makefs, _MAKEFS.format(**values), enabled=False),
        unit(mount, _MOUNT.format(**values)),
        unit(f"{AWAIT_DISK}{name}.service", _AWAIT.format(**values, patience=PATIENCE)),
        unit(label, _LABEL.format(**values)),
        drop_in(device_unit, _DEVICE.format(**values)),
    ]
    if owner:
        units.append(unit(owner, _owner_unit(name, disk, mount, services)))
    config: dict[str, object] = {"ignition": {"version": "3.0.0"}, "systemd": {"units": units}}
    if rule:
        config["storage"] = {"files": [file(f"/etc/udev/rules.d/90-fleet-{name}.rules", rule, mode=0o644)]}
    return Snippet.from_ignition(f"data disk {name}", config)


def _owner_unit(name: str, disk: DataDisk, mount: str, services: Sequence[str]) -> str:
    commands = []
    if disk.owner:
        user, _, group = disk.owner.partition(":")
        # With a colon and nothing behind it, chown(1) takes the user's own group; a number may be that of no user.
        who = disk.owner if group or user.isdigit() else f"{user}:"
        commands.append(f"ExecStart=/usr/bin/chown --no-dereference {who} {disk.mount}")
    if disk.mode:
        commands.append(f"ExecStart=/usr/bin/chmod {disk.mode} {disk.mount}")
    before = "".join(f"Before={service}\n" for service in services)
    return _OWNER.format(name=name, path=disk.mount, mount=mount, before=before, commands="\n".join(commands))


_DEVICE = """\
[Unit]
JobRunningTimeoutSec=infinity
Wants={mount}
"""

_MAKEFS = """\
[Unit]
Description=Make a file system on data disk {name}, unless it has one
DefaultDependencies=no
BindsTo={device_unit}
After={device_unit}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/systemd/systemd-makefs {format} {device}
"""

_MOUNT = """\
[Unit]
Description=Data disk {name}
Requires={makefs}
After={makefs}
{wants}

[Mount]
What={device}
Where={path}
Options=nofail

[Install]
WantedBy=multi-user.target
"""

_AWAIT = """\
[Unit]
Description=Wait for data disk {name}
DefaultDependencies=no
After=local-fs-pre.target
Before=local-fs.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/usr/bin/timeout {patience} /usr/bin/systemctl start {path}
ExecStart=-/bin/sh -c 'mountpoint -q {path} || {{ mkdir -p {path} && chattr +i {path}; }}'

[Install]
WantedBy=local-fs.target
"""

_LABEL = """\
[Unit]
Description=Label the mount point of data disk {name} for SELinux
ConditionSecurity=selinux
RequiresMountsFor={path}
After={mount}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/restorecon {path}

[Install]
WantedBy=multi-user.target
"""

_OWNER = """\
[Unit]
Description=Give the root folder of data disk {name} its owner and mode
RequiresMountsFor={path}
After={mount}
{before}
[Service]
Type=oneshot
RemainAfterExit=yes
{commands}

[Install]
WantedBy=multi-user.target
"""
