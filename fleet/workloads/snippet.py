"""A workload as one snippet: Quadlet files, secrets, users, timers, files.

Root's Quadlet files are in ``/etc/containers/systemd``, a user's in ``/etc/containers/systemd/users/UID``, which
Podman reads for that user alone: nothing of a rootless workload needs a folder in the user's home.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.boundary import Boundary
from fleet.config import Snippet
from fleet.config.ignition import Entry, drop_in, file, timer_text, unit, unit_text
from fleet.errors import FleetError
from fleet.files import read_bytes
from fleet.workloads import docker
from fleet.workloads.build_context import Excluded, built_from, ignore_file
from fleet.workloads.confidential import Confidential, Place, apart, as_secrets
from fleet.workloads.container import Container, FileMount
from fleet.workloads.quadlet import BUILDS_FOLDER, FILES_FOLDER, SECRETS_SERVICE, file_path, quadlet_files
from fleet.workloads.quadlet_units import QuadletUnit
from fleet.workloads.quoting import line
from fleet.workloads.workload import Workload, below, user_manager

SECRETS_FOLDER = "/etc/fleet/secrets"
"""Root's secrets, one file each."""

USER_SECRETS_FOLDER = "/etc/fleet/user-secrets"
"""Other users' secrets, in a folder of each named after the user's number."""


_OWN_DROP_IN = "50-fleet.conf"
"""What fleet says of a Quadlet file of the user's own, in the folder of its drop-ins."""


def workload_snippet(
    workload: Workload,
    *,
    secrets: Mapping[str, str] | None = None,
    folder: Path | None = None,
    boundary: Boundary | None = None,
    name: str = "containers",
    mounts: Sequence[str] = (),
    confidential: Collection[Place] = (),
    excluded_files: Collection[Path] = (),
) -> Snippet:
    """Compile a workload.

    Args:
        workload: The containers and what they share.
        secrets: Values by name. Each that a container uses becomes a file of mode 0600 and, before any container
            starts, a Podman secret.
        folder: Where files and build contexts are looked for; without it there can be none.
        boundary: What they have to be in; ``folder`` by default.
        name: What errors call the snippet.
        mounts: Where the node's data disks are mounted. What has data on one waits for it.
        confidential: Where in the workload texts stand that hold a secret.
        excluded_files: Files that are in no folder that goes to a node, wherever they lie.

    Raises:
        FleetError: A secret or file is not there, or a value cannot exist on a node.
    """
    hidden = Confidential(confidential)
    excluded = Excluded(excluded_files)
    beside = {
        name: hidden.variables(workload.engine, name, container) for name, container in workload.containers.items()
    }
    values, workload = dict(secrets or {}), apart(workload, beside)
    if workload.engine == "podman":
        workload, more = as_secrets(workload, beside)
        values |= more
    boundary = boundary or (Boundary(folder) if folder else None)
    parts = _Entries(workload, values, folder, boundary, mounts, hidden, beside, excluded)
    parts.users()
    parts.files()
    parts.secrets()
    parts.quadlets()
    if workload.engine == "docker":
        parts.docker()
    else:
        parts.podman()
    config: dict[str, Any] = {
        "ignition": {"version": "3.0.0"},
        "passwd": {"users": parts.accounts},
        "storage": {"files": parts.entries, "directories": parts.directories, "links": parts.links},
        "systemd": {"units": parts.units},
    }
    return Snippet.from_ignition(name, config)


@dataclass
class _Entries:
    """The entries of the snippet while they are made."""

    workload: Workload
    values: Mapping[str, str]
    folder: Path | None
    boundary: Boundary | None
    mounts: Sequence[str]
    hidden: Confidential
    beside: Mapping[str, Mapping[str, str]]
    excluded: Excluded
    accounts: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    directories: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    units: list[dict[str, Any]] = field(default_factory=list)

    def users(self) -> None:
        for name, user in sorted(self.workload.users.items()):
            account: dict[str, Any] = {"name": name, "uid": user.uid}
            if user.groups:
                account["groups"] = user.groups
            if user.ssh_authorized_keys:
                account["sshAuthorizedKeys"] = user.ssh_authorized_keys
            self.accounts.append(account)
            # What `loginctl enable-linger` writes.
            self.entries.append(file(f"/var/lib/systemd/linger/{name}", "", mode=0o644))
        for name, mounts in self.workload.users_on(self.mounts).items():
            # A user's manager has no units of the system's mounts: it starts itself when they are there, and ends with
            # them. The mounts start it again.
            waits = unit_text({"Unit": [("RequiresMountsFor", mount) for mount in mounts]})
            manager = user_manager(self.workload.users[name])
            self.units.append(drop_in(manager, waits))

    def files(self) -> None:
        for name, container in sorted(self.workload.containers.items()):
            if self.hidden.has("containers", name, "files"):
                self.directories.append(self._owned({"path": f"{FILES_FOLDER}/{name}", "mode": 0o700}, container))
            for mount in container.files:
                at = line(file_path(name, mount.target), f"container {name}: files")
                source = None if mount.text is not None else self._source(name, mount)
                if source and source.is_dir():
                    self._folder(name, at, source, mount, container)
                    continue
                entry = file(at, self._content(name, mount, source), mode=int(mount.mode, 8))
                self.entries.append(self._owned(entry, container))
        for name, build in sorted(self.workload.builds.items()):
            context = self._local(build.context, f"The build {name}", outside=build.outside)
            if Path(build.file).is_absolute() or os.path.normpath(build.file).startswith("../"):
                raise FleetError(
                    f"The build {name} has the file {build.file}, which is not in its folder {context}, and only "
                    "that is on the node.",
                    fix="Put it there, or take a folder that has both.",
                )
            if not (context / build.file).is_file():
                raise FleetError(
                    f"The build {name} has no {build.file} in {context}.", fix="Name it with `file:`, from there."
                )
            names = self._names(context)
            if ignoring := ignore_file(context, build.file):
                self._inside(context / ignoring, f"The ignore file of the build {name}", outside=build.outside)
            names = built_from(context, build.file, ignoring, names)
            what = f"file of the build {name}"
            self.entries += self._tree(f"{BUILDS_FOLDER}/{name}", context, names, what, build.outside)

    def _names(self, folder: Path) -> list[str]:
        """The files of a folder that may go to a node, relative to it."""
        paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
        return [str(path.relative_to(folder)) for path in paths if not self.excluded.has(folder, path)]

    def _tree(self, at: str, folder: Path, names: Sequence[str], what: str, outside: bool) -> list[dict[str, Any]]:
        """Files of a folder, as files of the node."""
        entries = []
        for name in names:
            path = folder / name
            self._inside(path, f"A {what}", outside=outside)
            content = read_bytes(path, what, kind=FleetError)
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            entries.append(file(f"{at}/{name}", content, mode=mode))
        return entries

    def _folder(self, name: str, at: str, source: Path, mount: FileMount, container: Container) -> None:
        what = f"file of the container {name}"
        entries = self._tree(at, source, self._names(source), what, mount.outside)
        self.entries += [self._owned(entry, container) for entry in entries]
        for folder in sorted({str(Path(entry["path"]).parent) for entry in entries} | {at}):
            for path in (Path(folder), *Path(folder).parents):
                entry = {"path": str(path), "mode": 0o755}
                if below(str(path), at) and not any(each["path"] == str(path) for each in self.directories):
                    self.directories.append(self._owned(entry, container))

    def _source(self, name: str, mount: FileMount) -> Path:
        return self._local(mount.source, f"A file of the container {name}", outside=mount.outside)

    def _content(self, name: str, mount: FileMount, source: Path | None) -> str | bytes:
        if source is None:
            return mount.text or ""
        return read_bytes(source, f"file of the container {name}", kind=FleetError)

    def _local(self, source: str, what: str, *, outside: bool) -> Path:
        if self.folder is None:
            raise FleetError(f"{what} is {source}, but there is no folder to look for it in.")
        path = self._inside(self.folder / source, what, outside=outside)
        if not path.exists():
            raise FleetError(f"{what} is {path}, which is not there.", fix="Paths are relative to the spec.")
        return path

    def _inside(self, path: Path, what: str, *, outside: bool) -> Path:
        return self.boundary.check(path, what, outside=outside) if self.boundary else path

    def _owned(self, entry: dict[str, Any], thing: Container | QuadletUnit) -> dict[str, Any]:
        if thing.run_as:
            entry |= {"user": {"name": thing.run_as}, "group": {"name": thing.run_as}}
        return entry

    def secrets(self) -> None:
        written: set[str] = set()
        for name, container in sorted(self.workload.containers.items()):
            folder = SECRETS_FOLDER
            docker = self.workload.engine == "docker"
            if docker:
                folder = f"{SECRETS_FOLDER}/{name}"
            elif container.secrets:
                folder = self._secrets_folder(container, written)
            for use in container.secrets:
                if use.name not in self.values:
                    raise FleetError(
                        f"Container {name} uses the secret {use.name}, which the spec does not define.",
                        fix="Define it under `secrets`.",
                    )
                path = f"{folder}/{use.name}"
                if path not in written:
                    written.add(path)
                    entry = file(path, self.values[use.name], mode=int(use.mode, 8) if docker else 0o600)
                    if docker:
                        # What the container sees is this very file.
                        entry |= {"user": {"id": use.uid}, "group": {"id": use.gid}}
                    self.entries.append(self._owned(entry, container))
        for each in self.workload.units:
            folder = self._secrets_folder(each, written) if each.secrets else ""
            for secret in each.secrets:
                if secret not in self.values:
                    raise FleetError(
                        f"{each.name} uses the secret {secret} of Podman, which the spec does not define.",
                        at=each.at,
                        fix="Define it under `secrets`.",
                    )
                path = f"{folder}/{secret}"
                if path not in written:
                    written.add(path)
                    self.entries.append(self._owned(file(path, self.values[secret], mode=0o600), each))

    def _secrets_folder(self, thing: Container | QuadletUnit, written: set[str]) -> str:
        """The folder of the secrets that Podman gives to a container, which is made if it is a user's."""
        if not thing.run_as:
            return SECRETS_FOLDER
        folder = f"{USER_SECRETS_FOLDER}/{self.workload.users[thing.run_as].uid}"
        if folder not in written:
            written.add(folder)
            self.directories.append(self._owned({"path": folder, "mode": 0o700}, thing))
        return folder

    def quadlets(self) -> None:
        """The user's own Quadlet files, and what fleet has to say of them, in drop-ins."""
        written: dict[str, bytes] = {}
        for each in self.workload.units:
            folder = self._quadlet_folder(each.run_as)
            texts = [
                (local.path, local.content, local.private)
                for local in each.files
                if not (local.of and self.excluded.has(*local.of))
            ]
            if more := unit_text(self._beside(each)):
                texts.append((f"{each.name}.d/{_OWN_DROP_IN}", more.encode(), False))
            for name, content, private in texts:
                path = f"{folder}/{name}"
                if path in written:
                    # What two of them name goes there once.
                    if written[path] != content:
                        raise FleetError(f"Two Quadlet files have different files {path} of the node.", at=each.at)
                    continue
                written[path] = content
                entry = file(path, content, mode=0o600 if private else 0o644)
                self.entries.append(self._owned(entry, each) if private else entry)

    def _quadlet_folder(self, user: str | None) -> str:
        return f"/etc/containers/systemd{f'/users/{self.workload.users[user].uid}' if user else ''}"

    def _beside(self, each: QuadletUnit) -> dict[str, list[Entry]]:
        sections: dict[str, list[Entry]] = {"Unit": []}
        if not each.run_as:
            storage = self.workload.storage
            needed = [storage] if any(below(storage, mount) for mount in self.mounts) else []
            sections["Unit"] += [("RequiresMountsFor", path) for path in needed]
        if each.secrets:
            sections["Unit"] += [("Requires", SECRETS_SERVICE), ("After", SECRETS_SERVICE)]
        if each.digest:
            sections[each.section] = [("Image", f"{each.image}@{each.digest}")]
        return {section: entries for section, entries in sections.items() if entries}

    def podman(self) -> None:
        workload, left = self.workload, self.hidden.without(self.beside)
        for kind, name, user, text in quadlet_files(workload, self.mounts):
            closed = left.has(kind.plural, name)
            entry = file(f"{self._quadlet_folder(user)}/{kind.file(name)}", text, mode=0o600 if closed else 0o644)
            if closed and user:
                entry |= {"user": {"name": user}, "group": {"name": user}}
            self.entries.append(entry)
        containers = workload.containers
        if containers or workload.units:
            # Docker is socket-activated beside Podman on Fedora CoreOS; both writing firewall rules breaks containers.
            self.units.append({"name": "docker.socket", "mask": True})
        if any(c.run_as for c in containers.values()) or any(each.run_as for each in workload.units):
            # Quadlet makes users' services wait for the system's network-online.target, which comes only if something
            # of the system wants it (podman-systemd.unit(5), "Implicit network dependencies").
            target = "network-online.target"
            wants = f"/etc/systemd/system/multi-user.target.wants/{target}"
            self.links.append({"path": wants, "target": f"/usr/lib/systemd/system/{target}"})
        for rootless in (False, True):
            chosen = {name: c for name, c in containers.items() if bool(c.run_as) == rootless}
            units = [each for each in workload.units if bool(each.run_as) == rootless]
            for unit_name, text, wanted_by in _helpers(chosen, units, rootless=rootless):
                if not rootless:
                    self.units.append(unit(unit_name, text) if text else {"name": unit_name, "enabled": True})
                    continue
                # Ignition enables units of the system only.
                at = f"/usr/lib/systemd/user/{unit_name}"
                if text:
                    at = f"/etc/systemd/user/{unit_name}"
                    self.entries.append(file(at, text, mode=0o644))
                self.links.append({"path": f"/etc/systemd/user/{wanted_by}.wants/{unit_name}", "target": at})

    def docker(self) -> None:
        self.units.append({"name": "podman.socket", "mask": True})
        if any(below(self.workload.storage, mount) for mount in self.mounts):
            waits = unit_text({"Unit": [("RequiresMountsFor", self.workload.storage)]})
            self.units.append(drop_in("docker.service", waits))
        left, files = self.hidden.without(self.beside), {}
        for name, variables in sorted(self.beside.items()):
            if variables:
                files[name] = f"{SECRETS_FOLDER}/{name}/{docker.ENVIRONMENT_FILE}"
                lines = "".join(f"{key}={text}\n" for key, text in sorted(variables.items()))
                self.entries.append(file(files[name], lines, mode=0o600))
        for kind, name, text in docker.units(self.workload, SECRETS_FOLDER, files):
            service = kind.service(name)
            # What a timer starts has no [Install] section, and is not enabled.
            enabled = "[Install]" in text
            if left.has(kind.plural, name):
                # Ignition makes a unit readable for all.
                self.entries.append(file(f"/etc/systemd/system/{service}", text, mode=0o600))
                self.units += [{"name": service, "enabled": True}] if enabled else []
            else:
                self.units.append(unit(service, text) if enabled else {"name": service, "contents": text})
        for name, container in sorted(self.workload.containers.items()):
            if container.schedule:
                self.units.append(unit(f"{name}.timer", _timer(name, container)))


def _helpers(
    containers: Mapping[str, Container], units: Sequence[QuadletUnit], *, rootless: bool
) -> Iterator[tuple[str, str, str]]:
    """Units beside the containers' own: name, text (empty for one that the system brings), and what wants it."""
    if any(container.secrets for container in containers.values()) or any(each.secrets for each in units):
        folder = f"{USER_SECRETS_FOLDER}/%U" if rootless else SECRETS_FOLDER
        target = "default.target" if rootless else "multi-user.target"
        # For root %U would be 0; a user without secrets has no folder.
        condition = f"ConditionPathExists={folder}" if rootless else "RequiresMountsFor=/var/lib/containers"
        yield SECRETS_SERVICE, _SECRETS_UNIT.format(folder=folder, target=target, condition=condition), target
    if any(container.auto_update for container in containers.values()) or any(
        each.value("AutoUpdate") in ("registry", "local") for each in units
    ):
        yield "podman-auto-update.timer", "", "timers.target"
    for name, container in sorted(containers.items()):
        if container.schedule:
            yield f"{name}.timer", _timer(name, container), "timers.target"


def _timer(name: str, container: Container) -> str:
    assert container.schedule is not None
    what = f"container {name}: schedule"
    return timer_text(
        f"Runs of container {name}",
        ("OnCalendar", line(container.schedule.calendar, what)),
        ("RandomizedDelaySec", line(container.schedule.random_delay, what)),
        ("Persistent", str(container.schedule.persistent).lower()),
    )


_SECRETS_UNIT = """\
[Unit]
Description=Give secrets to Podman
{condition}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -euc 'for f in {folder}/*; do podman secret create --replace "$${{f##*/}}" "$$f" >/dev/null; done'

[Install]
WantedBy={target}
"""
