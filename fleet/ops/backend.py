"""What an engine that was killed, or had no room on its disk, leaves in a backend of files, and how it is mended.

A backend of files (``pkg/backend/diy`` of github.com/pulumi/pulumi, on ``gocloud.dev/blob/fileblob``) writes each file
under a temporary name, ``NAME.<hexadecimal>.tmp`` beside it, and renames it, without a sync between: what a full disk
or a power failure leaves is an empty file, or the beginning of one. Which of them stop every later command:

- a lock, under its own name or a temporary one, that is no JSON: "unexpected end of JSON input";
- a stack's state; its tags;
- ``meta.yaml``: "corrupt store";
- ``NAME.attrs``, metadata that nothing needs, written where the URL does not say ``metadata=skip``: it is written in
  place, and a whole file beside a broken one cannot be read ("EOF");
- an update's record, ``*.history.json``: ``pulumi stack history`` and what asks for the last update.

Backups, and the states of earlier updates, are read by nobody, but here.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from fleet.core_schema import Plain
from fleet.dynamic.tokens import READY
from fleet.errors import FleetError
from fleet.files import read_json, write_whole
from fleet.processes import is_engine, is_open
from fleet.program.exported import is_of_node, is_own, outputs, pending_operations, resources_of
from fleet.project import Project, short_name

_QUIET_SECONDS = 2.0
"""Seconds after which a file that is not open anywhere counts as abandoned: longer than any takes to be written."""
_GZIP = b"\x1f\x8b"
"""What a file begins with that is compressed so (RFC 1952)."""
_LATEST = 50
"""How many updates' records are looked at: older ones were whole when these were written."""


@dataclass(frozen=True)
class Update:
    """An update of a stack that is going on.

    Attributes:
        holder: Whose it is: user, host, and the engine's process.
        since: When it began, in seconds since 1970.
    """

    holder: str
    since: float


@dataclass(frozen=True)
class Backend:
    """The files of one stack in a backend of files.

    Attributes:
        folder: The backend's ``.pulumi``.
        project: The project's name.
        stack: The stack's name.
    """

    folder: Path
    project: str
    stack: str

    @classmethod
    def of(cls, url: str, *, beside: Path, project: str, stack: str) -> Backend | None:
        """The backend that a URL names; ``None`` if it is none of files.

        Args:
            url: Such as ``file://~`` or ``file://./state?metadata=skip``.
            beside: The folder that a relative path starts at.
            project: The project's name.
            stack: The stack's name.
        """
        if not url.startswith("file://"):
            return None
        path = Path(url.removeprefix("file://").partition("?")[0]).expanduser()
        return cls(beside / path / ".pulumi", project, stack)

    @classmethod
    def of_stack(cls, project: Project, stack: str) -> Backend | None:
        """The files that hold a stack's state; ``None`` if a service has it.

        Args:
            project: The project.
            stack: The stack's name; an organization and the project may stand before it.
        """
        return cls.of(backend_url(project), beside=project.folder, project=project.name, stack=short_name(stack))

    def resources(self) -> list[dict[str, Any]]:
        """The resources of the state as it is, secrets encrypted; none where there is no whole one."""
        return resources_of(self._latest)

    @property
    def exists(self) -> bool:
        """Whether there is such a stack."""
        return self._state_file.exists()

    @property
    def stacks(self) -> set[str]:
        """Names of the project's stacks."""
        return {
            file.name.removesuffix(suffix)
            for suffix in (".json", ".json.gz", ".json.zst")
            for file in self._state_base.parent.glob(f"*{suffix}")
        }

    @property
    def secrets_provider(self) -> str:
        """What keeps the secrets of the state, such as "passphrase"; empty if it does not say so."""
        return str((self._latest.get("secrets_providers") or {}).get("type") or "")

    @property
    def _latest(self) -> dict[str, Any]:
        """What the state has; empty if there is none, or it is broken."""
        state = _state(_read(self._state_file)) or {"checkpoint": {}}
        return state["checkpoint"].get("latest") or {}

    @property
    def text(self) -> bytes | None:
        """What should be the state as JSON; ``None`` where there is none, or Pulumi alone can read it.

        It has a ``version`` and a ``checkpoint``, in which ``latest`` is what ``pulumi stack export`` calls
        ``deployment`` (``apitype.VersionedCheckpoint`` of github.com/pulumi/pulumi).
        """
        file = self._state_file
        if file.suffix == ".zst" or (text := _read(file)) is None:
            return None
        return gzip.decompress(text) if text.startswith(_GZIP) else text

    def copy_in(self, folder: Path) -> Backend:
        """The copy that :meth:`copied_to` makes in a folder."""
        return Backend(folder / ".pulumi", self.project, self.stack)

    def copied_to(self, folder: Path) -> str:
        """The URL of a copy of the backend that is made in another folder.

        It has the state as it is; if there is none, a state without resources. Other stacks are links to theirs.

        Args:
            folder: The folder.

        Raises:
            FleetError: The state is broken.
        """
        state = self._state_file
        text = _read(state)
        if text is not None and state.suffix != ".zst" and not _state(text):
            raise self.cut_off()
        url = backend_of(folder, self.project, state.name, text)
        self._link_others(folder / ".pulumi/stacks")
        return url

    def cut_off(self) -> FleetError:
        """The error that the state is not whole."""
        return FleetError(
            f"The state of stack {self.stack} was cut off ({self._state_file}).",
            fix="`fleet up` puts the last whole one in its place.",
        )

    def _link_others(self, stacks: Path) -> None:
        """Have a copy give what other stacks export: a program may refer to them.

        Args:
            stacks: The copy's folder of states.
        """
        with contextlib.suppress(FileNotFoundError):
            for place in (self.folder / "stacks").iterdir():
                if place.name != self.project:
                    (stacks / place.name).symlink_to(place.resolve())
            for file in (self.folder / "stacks" / self.project).iterdir():
                if not file.name.startswith(f"{self.stack}."):
                    (stacks / self.project / file.name).symlink_to(file.resolve())

    def mend(self, say: Callable[[str], None]) -> None:
        """Mend all that keeps commands from working, and nothing that a process which lives has.

        Args:
            say: Told what was lost.

        Raises:
            FleetError: The state is broken, and there is no whole one of before; or the disk is full.
        """
        try:
            self._drop_metadata()
            self.free()
            self._drop_temporary()
            self._mend_layout()
            self._mend_tags(say)
            self._mend_state(say)
            self._drop_history()
        except OSError as error:
            raise FleetError(
                f"The state in {self.folder} cannot be mended: {error.strerror}.",
                fix="Make room there, and try again."
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "See that its files belong to you.",
            ) from None

    def free(self) -> None:
        """Take away the stack's locks whose holder is gone from this machine, and those that say no holder."""
        for lock in self._locks():
            holder = _json(_read(lock))
            if not isinstance(holder, dict) or not holder.get("pid"):
                if _is_abandoned(lock, wait=True) and not isinstance(_json(_read(lock)), dict):
                    lock.unlink(missing_ok=True)
            elif _is_gone(holder):
                lock.unlink(missing_ok=True)

    def holder(self) -> str:
        """Who holds a lock of the stack; empty if nobody does."""
        return next((_named(holder) for _, holder in self._held()), "")

    def update(self) -> Update | None:
        """The update that holds a lock of the stack; ``None``: none does, or it was killed on this machine."""
        for lock, holder in self._held():
            if not _is_gone(holder):
                with contextlib.suppress(FileNotFoundError):  # It has just ended.
                    return Update(_named(holder), lock.stat().st_mtime)
        return None

    @property
    def stamp(self) -> tuple[str, int, int, int]:
        """What tells one state from the next without reading it; the same where there is none."""
        file = self._state_file
        try:
            status = file.stat()
        except FileNotFoundError:
            return "", 0, 0, 0
        return file.name, status.st_mtime_ns, status.st_size, status.st_ino

    def _held(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """The stack's locks that say who holds them, with that."""
        for lock in self._locks():
            holder = _json(_read(lock))
            # Metadata that Pulumi keeps beside a lock is not taken away with it, and names nobody.
            if isinstance(holder, dict) and holder.get("pid"):
                yield lock, holder

    def _locks(self) -> Iterator[Path]:
        return self._files(f"locks/organization/{self.project}/{self.stack}", f"locks/{self.stack}")

    def _drop_metadata(self) -> None:
        # In a home, plugins are beside them.
        for pattern in ("*.attrs", *(f"{folder}/**/*.attrs" for folder in ("stacks", "locks", "history", "backups"))):
            for metadata in self.folder.glob(pattern):
                if not isinstance(_json(_read(metadata)), dict):
                    metadata.unlink(missing_ok=True)

    def _drop_temporary(self) -> None:
        whole = _state(_read(self._state_file))
        of_history = self._files(*(f"{kind}/{place}" for kind in ("history", "backups") for place in self._places))
        for file in [*self._state_base.parent.glob(f"{self.stack}.*.tmp"), *of_history]:
            # Beside a broken state, the whole one may just have been written.
            of_state = file.name.startswith(f"{self.stack}.json") and file.parent == self._state_file.parent
            if file.suffix == ".tmp" and (whole or not of_state) and _is_abandoned(file, wait=False):
                file.unlink(missing_ok=True)

    def _mend_layout(self) -> None:
        """Say again how stacks are laid out; without that file, states would be looked for elsewhere."""
        layout = self.folder / "meta.yaml"
        text = _read(layout)
        if text is None:
            return
        try:
            content = yaml.load(text, Loader=Plain)
        except (yaml.YAMLError, UnicodeDecodeError):
            content = None
        if not isinstance(content, dict) or not isinstance(content.get("version"), int):
            # It is only ever written for the layout with a folder for each project.
            write_whole(layout, "version: 1\n")

    def _mend_tags(self, say: Callable[[str], None]) -> None:
        tags = self._state_base.with_name(f"{self.stack}.pulumi-tags")
        text = _read(tags)
        if text is not None and not isinstance(_json(text), dict):
            tags.unlink()
            say(f"The tags of stack {self.stack} were cut off ({tags}) and are lost; Pulumi sets its own again.")

    @property
    def _places(self) -> tuple[str, str]:
        """Where a stack's files are in a folder of all stacks': with the project's name, and as it was once."""
        return f"{self.project}/{self.stack}", self.stack

    @property
    def _state_base(self) -> Path:
        scoped = self.folder / "stacks" / self.project / self.stack
        return scoped if scoped.parent.is_dir() else self.folder / "stacks" / self.stack

    @property
    def _state_file(self) -> Path:
        """The state: of those that differ in compression, the one that was written last."""
        plain = self._state_base.with_name(f"{self.stack}.json")
        kinds = [plain, *(plain.with_name(plain.name + suffix) for suffix in (".gz", ".zst"))]
        return max((file for file in kinds if file.exists()), key=lambda file: file.stat().st_mtime, default=plain)

    def _mend_state(self, say: Callable[[str], None]) -> None:
        state = self._state_file
        text = _read(state)
        # A stack that was removed keeps backups.
        if text is None or state.suffix == ".zst" or _state(text):
            return
        if not _is_abandoned(state, wait=True) or _state(_read(state)):
            return
        for earlier in sorted(self._earlier(state), key=lambda file: file.stat().st_mtime, reverse=True):
            if content := _state(_read(earlier)):
                break
        else:
            raise FleetError(
                f"The state of stack {self.stack} was cut off ({state}), and there is no whole one of before, neither "
                "beside it nor among the backups.",
                fix="If you have a copy, put it there. Else the stack's machines are in no state: look for them, "
                "remove that file, and begin anew; data disks can be taken over.",
            )
        written = datetime.fromtimestamp(earlier.stat().st_mtime)
        _note_machines(content)
        write_whole(state, json.dumps(content, separators=(",", ":")))
        state.with_name(state.name + ".attrs").unlink(missing_ok=True)
        say(
            f"The state of stack {self.stack} was cut off. In its place is that of {written:%Y-%m-%d %H:%M:%S} "
            f"({earlier}). What was done since is not in it: `fleet up` looks for machines, and re-provisions what it "
            "cannot be sure of; look yourself for other things that were made for the first time since, and on Google "
            "Cloud for instances whose names it cannot know, such as web-0-1a2b3c4."
        )

    def _earlier(self, state: Path) -> Iterator[Path]:
        yield from state.parent.glob(f"{self.stack}.json*.bak")
        yield from state.parent.glob(f"{self.stack}.json*.tmp")
        for folder, name in (("backups", f"{self.stack}.*.json*"), ("history", f"{self.stack}-*.checkpoint.json*")):
            for place in self._places:
                files = self.folder.glob(f"{folder}/{place}/{name}")
                yield from (file for file in files if file.suffix in (".json", ".gz"))

    def _drop_history(self) -> None:
        records = [
            file
            for place in self._places
            for file in self.folder.glob(f"history/{place}/*.history.json*")
            if file.suffix in (".json", ".gz")
        ]
        # Their names end with the time in nanoseconds, always as long.
        for record in sorted(records)[-_LATEST:]:
            if not isinstance(_json(_read(record)), dict) and _is_abandoned(record, wait=False):
                record.unlink(missing_ok=True)

    def _files(self, *folders: str) -> Iterator[Path]:
        for folder in folders:
            for file in self.folder.joinpath(folder).rglob("*"):
                if file.is_file():
                    yield file


def _named(holder: Mapping[str, Any]) -> str:
    """The holder of a lock, in words."""
    return f"{holder.get('username')}@{holder.get('hostname')} (pid {holder.get('pid')})"


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether the holder of a lock ran on this machine, and does no more."""
    return bool(holder.get("hostname") == socket.gethostname() and not is_engine(int(holder["pid"])))


def backend_url(project: Project) -> str:
    """Where a project's states are: what the environment says, else its file, else the login, else its folder."""
    return os.environ.get("PULUMI_BACKEND_URL") or project.backend or logged_in_backend() or f"file://{project.folder}"


def is_in_service(project: Project) -> bool:
    """Whether a service of Pulumi's keeps a project's states, and with them the key of secrets."""
    return backend_url(project).startswith(("https://", "http://"))


def logged_in_backend() -> str:
    """The URL of the backend that ``pulumi login`` chose; empty if none."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return str(read_json((home / "credentials.json").read_bytes()).get("current") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def backend_of(folder: Path, project: str, state: str, text: bytes | None = None) -> str:
    """The URL of a backend that is made in a folder, of one stack.

    Args:
        folder: The folder.
        project: The project's name.
        state: The name of the state's file.
        text: The state; one without resources by default.
    """
    file = folder / ".pulumi/stacks" / project / state
    file.parent.mkdir(parents=True)
    file.write_bytes(json.dumps({"version": 3, "checkpoint": {"latest": {}}}).encode() if text is None else text)
    return f"file://{folder}?metadata=skip"


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _json(text: bytes | None) -> Any:
    """What a file says that may be compressed; ``None`` if it says nothing whole."""
    if text is None:
        return None
    try:
        return read_json(gzip.decompress(text) if text.startswith(_GZIP) else text)
    except (ValueError, EOFError, OSError, zlib.error):
        return None


def _state(text: bytes | None) -> dict[str, Any] | None:
    """A whole state."""
    content = _json(text)
    if isinstance(content, dict) and isinstance(content.get("checkpoint"), dict) and "version" in content:
        return content
    return None


def _note_machines(state: dict[str, Any]) -> None:
    """Have a state of before say of each machine that it was just being changed.

    There may be a later one by now, and what clears up after an update that was cut off looks for it
    (:mod:`fleet.ops.recovery`).
    """
    latest = state["checkpoint"].get("latest") or {}
    resources = resources_of(latest)
    ready = {outputs(resource).get("instance") for resource in resources if resource["type"] == READY} - {None}
    pending = list(pending_operations(latest))
    known = {operation["resource"]["urn"] for operation in pending}
    for resource in resources:
        # Of fleet's own machines, the node's folder tells.
        is_machine = is_of_node(resource) and not is_own(resource)
        if is_machine and resource.get("id") in ready and resource["urn"] not in known:
            pending.append({"resource": resource, "type": "updating"})
    if pending:
        latest["pending_operations"] = pending


def _is_abandoned(file: Path, *, wait: bool) -> bool:
    """Whether no process on this machine has a file open, and it has not been written to for a while.

    Args:
        file: The file.
        wait: If it was written to just now, wait.
    """
    while True:
        try:
            age = time.time() - file.stat().st_mtime
        except FileNotFoundError:
            return False
        if not 0 <= age < _QUIET_SECONDS:
            break
        if not wait:
            return False
        time.sleep(_QUIET_SECONDS - age)
    try:
        return not is_open(file)
    except FileNotFoundError:
        return False
