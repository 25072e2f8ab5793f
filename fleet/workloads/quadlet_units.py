"""Quadlet files that users have: taken as they are, and checked as Podman's generator would read them.

A file keeps its text, but for placeholders, and its name; it lies where those of fleet's own containers do, so that
either can name the other (``Network=web.network``). What fleet has to say of it stands in a drop-in beside it
(podman-systemd.unit(5), "Drop-in files"): the digest of its image, the mount that it waits for, the service that gives
secrets to Podman. Files that it names by a relative path go along, to the same place beside it.

Podman's generator drops a whole unit for one mistake, and says so in the node's journal alone. So what it would not
take is refused here: keys that it does not know, kinds and names that are none, references to units that are not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import yaml

from fleet.boundary import Boundary
from fleet.config.template import Scalar
from fleet.core_schema import Plain
from fleet.errors import FleetError, Position, UsageError
from fleet.files import read_bytes, read_text
from fleet.hints import nearest
from fleet.plan.report import Expect
from fleet.workloads.container import REFERENCE
from fleet.workloads.fields import Port
from fleet.workloads.quadlet_keys import KEYS, unknown_key
from fleet.workloads.unit_file import UnitEntry, UnitFile, fill_unit, parse_unit

UnitKind = Literal["container", "pod", "kube", "network", "volume", "image", "build"]
SUFFIXES: Mapping[str, str] = {
    "container": "", "pod": "-pod", "kube": "", "network": "-network", "volume": "-volume", "image": "-image",
    "build": "-build",
}  # fmt: skip
"""What the service that Podman makes of a file of each kind is called beside the file's name."""

RUNNING = ("container", "pod", "kube")
"""The kinds that run something."""

_NAME = re.compile(r"[A-Za-z0-9:_.@-]+")
_PORT_MOST = 65535
_SECTIONS = ("Unit", "Service", "Install", "Quadlet")
_FIX_BUILD = (
    "Take a `builds: {NAME: {context: FOLDER}}` of the group in its place: its folder goes to the node, and "
    "`Image=NAME.build` names it."
)


class LocalFile(NamedTuple):
    """A file that goes to the node.

    Attributes:
        path: Relative to the folder of Quadlet files there.
        content: Its content.
        private: Only its owner may read it.
        of: For one of many in a folder that goes along: that folder here, and its own path.
    """

    path: str
    content: bytes
    private: bool
    of: tuple[Path, Path] | None = None


@dataclass(frozen=True)
class QuadletUnit:
    """A Quadlet file with its drop-ins.

    Attributes:
        name: The file's name, such as "caddy.container".
        content: What it and its drop-ins say.
        files: It, its drop-ins, and what it names beside it.
        at: Its file, for errors.
        index: Which of the group's ``quadlets`` brought it.
        run_as: The user of the group whose rootless Podman runs it; ``None``: root's.
        filling: Names of the secrets that fill its placeholders.
        digest: What pins its image, such as "sha256:..."; empty: nothing does.
    """

    name: str
    content: UnitFile
    files: tuple[LocalFile, ...]
    at: Position
    index: int
    run_as: str | None = None
    filling: frozenset[str] = field(default=frozenset(), compare=False)
    digest: str = ""

    @property
    def stem(self) -> str:
        """Its name without the kind."""
        return self.name.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """The ending of its name."""
        return self.name.rpartition(".")[2]

    @property
    def section(self) -> str:
        """The section that is Podman's."""
        return self.kind.capitalize()

    @property
    def service(self) -> str:
        """The service that Podman's generator makes of it."""
        return f"{self.value('ServiceName') or self.stem + SUFFIXES[self.kind]}.service"

    @property
    def resource(self) -> tuple[str, str]:
        """What Podman calls what it makes, and the list of Podman's that this name is in; empty where there is none."""
        lists = {"container": "containers", "pod": "containers", "network": "networks", "volume": "volumes"}
        if self.kind not in lists:
            return "", ""
        return self.value(f"{self.section}Name") or f"systemd-{self.stem}", lists[self.kind]

    def value(self, key: str) -> str:
        """The value of a key of Podman's section."""
        return self.content.value(self.section, key)

    def all(self, key: str) -> list[UnitEntry]:
        """A key of Podman's section that may stand several times."""
        return self.content.all(self.section, key)

    @cached_property
    def ports(self) -> list[Port]:
        """Ports of the node that it publishes, as far as the file says which."""
        return [port for entry in self.all("PublishPort") for port in _published(entry.value)]

    @property
    def image(self) -> str:
        """The reference of an image that a registry has; empty where it names none."""
        image = self.value("Image") if self.kind in ("container", "image") else ""
        return "" if image.endswith((".image", ".build")) or re.search("[%$]", image) else image

    @property
    def tag(self) -> str:
        """Its image's reference, if that can be another one tomorrow, and is not meant to be; else empty."""
        moves = self.value("AutoUpdate") != "registry" and self.value("Pull") != "never"
        return self.image if moves and "@" not in self.image and not self.image.startswith("localhost/") else ""

    @cached_property
    def kube_images(self) -> list[str]:
        """References of images that the YAML of a ``.kube`` file names, as far as that is here; nothing pins them."""
        named = {entry.value for entry in self.all("Yaml")} if self.kind == "kube" else set()
        texts = [file.content for file in self.files if file.path in named]
        return sorted({image for text in texts for image in _images(text)})

    @property
    def secrets(self) -> list[str]:
        """Podman secrets that it uses, by name."""
        entries = self.all("Secret") if self.kind == "container" else []
        return [entry.value.strip("\"'").partition(",")[0] for entry in entries]

    @property
    def volumes(self) -> list[tuple[str, str, UnitEntry]]:
        """Source and options of what it mounts."""
        if self.kind not in ("container", "pod"):
            return []
        mounted = []
        for entry in self.all("Volume"):
            source, _, rest = entry.value.partition(":")
            mounted.append((source, rest.partition(":")[2], entry))
        return mounted

    @property
    def paths(self) -> Iterator[str]:
        """The node's paths that it mounts, or says that it needs."""
        yield from (source for source, _, _ in self.volumes if source.startswith("/"))
        for entry in self.all("Mount") if self.kind == "container" else ():
            yield from re.findall(r"(?:^|,)(?:source|src)=(/[^,]*)", entry.value)
        for entry in self.content.all("Unit", "RequiresMountsFor"):
            yield from entry.value.split()

    @property
    def references(self) -> Iterator[tuple[str, UnitEntry]]:
        """Other Quadlet files that it names."""
        values: list[tuple[str, UnitEntry]] = []
        if self.kind in ("container", "pod", "kube", "build"):
            values += [(each.value.partition(":")[0], each) for each in self.all("Network")]
        values += [(source, entry) for source, _, entry in self.volumes]
        for named in (self.content.last(self.section, key) for key in ("Image", "Pod")):
            values += [(named.value, named)] if named else []
        for entry in self.all("Mount") if self.kind == "container" else ():
            values += [(each, entry) for each in re.findall(r"(?:source|src)=([^,]*)", entry.value)]
        for value, entry in values:
            if value.rpartition(".")[2] in SUFFIXES and "/" not in value and not value.startswith("."):
                yield value, entry

    @property
    def installed(self) -> list[UnitEntry]:
        """What starts it with the node."""
        keys = ("WantedBy", "RequiredBy", "UpheldBy")
        return [entry for key in keys for entry in self.content.all("Install", key)]

    @property
    def pulled(self) -> set[str]:
        """Services that it starts."""
        keys = ("Wants", "Requires", "BindsTo", "Upholds", "Requisite")
        return {name for key in keys for entry in self.content.all("Unit", key) for name in entry.value.split()}

    @property
    def expect(self) -> Expect:
        """What its service is to do where something starts it with the node, in the node's report."""
        if self.kind not in RUNNING:
            return "on-demand"
        if self.content.value("Service", "Type") == "oneshot":
            return "done"
        always = self.kind == "pod" or self.content.value("Service", "Restart") == "always"
        return "running" if always else "may-end"

    def pinned(self, digest: str) -> QuadletUnit:
        """The same with a digest for its image."""
        return replace(self, digest=digest)


def read_units(
    path: Path,
    *,
    boundary: Boundary | None,
    at: Position,
    index: int = 0,
    run_as: str | None = None,
    values: Mapping[str, Scalar] | None = None,
    filling: frozenset[str] = frozenset(),
    masked: Collection[str] = (),
) -> list[QuadletUnit]:
    """Read a Quadlet file, or all that lie in a folder, and check each by itself.

    Args:
        path: The file, or the folder.
        boundary: What they, and files that they name, have to be in; ``None``: anything.
        at: Where the spec names it.
        index: See :class:`QuadletUnit`.
        run_as: See there.
        values: What fills their placeholders; without any they have none.
        filling: See there.
        masked: Variables whose values only stand for others.

    Raises:
        FleetError: It is not there, is none, or says what Podman does not take.
    """
    if boundary:
        boundary.check(path, "The Quadlet file", at=at)
    if not path.exists():
        fix = "Name the folder, or each file." if re.search(r"[*?\[]", path.name) else "Paths are relative to the spec."
        raise UsageError(f"There is no Quadlet file {path}.", at=at, fix=fix)
    reader = _Reader(boundary, at, index, run_as, values or {}, filling, masked)
    if not path.is_dir():
        return [reader.unit(path)]
    names = sorted(each.name for each in path.iterdir())
    for name in names:
        stem, _, kind = name.removesuffix(".d").rpartition(".")
        if name.endswith(".d") and kind in SUFFIXES and (not stem or stem.endswith("-")):
            raise UsageError(
                f"{path / name} has drop-ins for several Quadlet files, and those of fleet's own containers would be "
                "among them.",
                at=at,
                fix=f"Put them into the folder of each file, such as NAME.{kind}.d.",
            )
    files = [path / name for name in names if Path(name).suffix[1:] in SUFFIXES]
    if not files:
        raise UsageError(f"There is no Quadlet file in the folder {path}.", at=at, fix=f"One is {_KINDS}.")
    return [reader.unit(file) for file in files]


_KINDS = f"NAME.{', NAME.'.join(list(SUFFIXES)[:-1])} or NAME.build"


@dataclass(frozen=True)
class _Reader:
    boundary: Boundary | None
    at: Position
    index: int
    run_as: str | None
    values: Mapping[str, Scalar]
    filling: frozenset[str]
    masked: Collection[str]

    def unit(self, path: Path) -> QuadletUnit:
        stem, dot, kind = path.name.rpartition(".")
        if not dot or kind not in SUFFIXES or not _NAME.fullmatch(stem):
            fix = "Units of systemd's own are for a Butane snippet." if kind in ("service", "timer", "socket") else ""
            raise UsageError(f"{path.name} is no Quadlet file: one is called {_KINDS}.", at=self.at, fix=fix)
        if stem.endswith("@"):
            raise UsageError(
                f"{path.name} is a template, of which nothing is started by itself.",
                at=self.at,
                fix=f"Name the file after an instance: {stem}1.{kind}.",
            )
        texts = {path.name: path}
        folder = path.with_name(f"{path.name}.d")
        if folder.is_dir():
            texts |= {f"{folder.name}/{each.name}": each for each in sorted(folder.glob("*.conf"))}
        read = {name: self._text(file) for name, file in texts.items()}
        if self.values:
            # A variable may be used in any of them.
            read = self._filled(read, {name: Position.of(file).source for name, file in texts.items()})
        entries = [entry for name, file in texts.items() for entry in parse_unit(read[name], Position.of(file).source)]
        files = [LocalFile(name, text.encode(), bool(self.filling)) for name, text in read.items()]
        unit = QuadletUnit(
            path.name, UnitFile(tuple(entries)), tuple(files), Position.of(path), self.index, self.run_as, self.filling
        )
        for problem, at, fix in _problems(unit):
            raise UsageError(problem, at=at, fix=fix)
        beside = {file.path: file for file in self._beside(unit, path.parent)}
        return replace(unit, files=(*files, *beside.values()))

    def _filled(self, texts: Mapping[str, str], shown: Mapping[str, str]) -> dict[str, str]:
        """The texts of one unit with their placeholders filled: each variable is used in one of them."""
        used = {
            name: {key: value for key, value in self.values.items() if re.search(rf"(?<!\$)\$\{{{key}\}}", text)}
            for name, text in texts.items()
        }
        # What is used nowhere is said of the file itself.
        first = next(iter(texts))
        unused = self.values.keys() - frozenset().union(*used.values())
        used[first] |= {key: self.values[key] for key in unused}
        return {name: fill_unit(text, used[name], name=shown[name], masked=self.masked) for name, text in texts.items()}

    def _text(self, file: Path) -> str:
        if self.boundary:
            self.boundary.check(file, "The Quadlet file", at=self.at)
        return read_text(file, "Quadlet file")

    def _beside(self, unit: QuadletUnit, folder: Path) -> Iterator[LocalFile]:
        """The files that a Quadlet file names by a path that is relative to it."""
        for name, entry, private, kept in _relative(unit):
            what = f"{entry.key}={entry.value}"
            inside = os.path.normpath(name)
            if inside.startswith("..") or inside == ".":
                raise UsageError(
                    f"`{what}` leads out of the folder of {unit.name}, which is /etc/containers/systemd on a node.",
                    at=entry.at,
                    fix="Put it beside the file, or name an absolute path of the node.",
                )
            path = folder / inside
            if self.boundary:
                self.boundary.check(path, f"`{what}`", at=entry.at)
            if not path.exists():
                raise UsageError(
                    f"`{what}` names {path}, which is not there.",
                    at=entry.at,
                    fix="It goes to the node with the Quadlet file. What is there already has an absolute path.",
                )
            if path.is_dir() and not kept:
                raise UsageError(
                    f"`{what}` mounts a folder beside {unit.name} that the container may write to, and what it writes "
                    "would go with the node.",
                    at=entry.at,
                    fix="Name an absolute path of the node, such as one on a data disk, or a volume; or add `:ro`.",
                )
            for file in sorted(each for each in path.rglob("*") if not each.is_dir()) if path.is_dir() else [path]:
                if self.boundary:
                    self.boundary.check(file, f"`{what}`", at=entry.at)
                content = read_bytes(file, f"file of {unit.name}", at=entry.at, kind=FleetError)
                place = PurePosixPath(inside, file.relative_to(path)) if path.is_dir() else PurePosixPath(inside)
                yield LocalFile(str(place), content, private, (path, file) if path.is_dir() else None)


def _images(text: bytes) -> Iterator[str]:
    """The images of containers in Kubernetes' YAML; none where it cannot be read, which is for Podman to say."""
    try:
        pending = list(yaml.load_all(text, Loader=Plain))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for key in ("containers", "initContainers"):
                for each in value[key] if isinstance(value.get(key), list) else ():
                    if isinstance(each, dict) and isinstance(each.get("image"), str):
                        yield each["image"]
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _relative(unit: QuadletUnit) -> Iterator[tuple[str, UnitEntry, bool, bool]]:
    """Paths relative to the unit's file: path, where, whether it is private, and whether it may be a folder."""
    if unit.kind == "container":
        for entry in unit.all("EnvironmentFile"):
            for name in entry.value.split():
                if not name.startswith(("/", "%")):
                    yield name.strip("\"'"), entry, True, False
    if unit.kind == "kube":
        for key in ("Yaml", "ConfigMap"):
            for entry in unit.all(key):
                if not entry.value.startswith(("/", "%")):
                    yield entry.value, entry, bool(unit.filling), False
    for source, options, entry in unit.volumes:
        if source.startswith("."):
            yield source, entry, False, "ro" in options.split(",")


def _problems(unit: QuadletUnit) -> Iterator[tuple[str, Position, str]]:
    """What Podman would not take of a unit: what is wrong, where, how to mend it."""
    section, content = unit.section, unit.content
    known = (*_SECTIONS, section)
    for entry in content.entries:
        if entry.section not in known and not entry.section.startswith(("X-", "x-")):
            fix = nearest(entry.section, known) or f"The sections here are {', '.join(known)}."
            yield f"{unit.name} has a section [{entry.section}], which a .{unit.kind} file has not.", entry.at, fix
        if problem := unknown_key(entry.section, entry.key):
            yield f"{problem[0].upper()}{problem[1:]}.", entry.at, ""
    needed = {"container": ("Image", "Rootfs"), "image": ("Image",), "kube": ("Yaml",), "build": ("ImageTag",)}
    if unit.kind in needed and not any(unit.value(key) for key in needed[unit.kind]):
        yield f"{unit.name} has no `{needed[unit.kind][0]}=` in [{section}], and Podman drops it without.", unit.at, ""
    service_name = content.last(section, "ServiceName")
    if service_name and not _NAME.fullmatch(service_name.value):
        yield f"`ServiceName={service_name.value}` is no name of a service.", service_name.at, "It ends in no .service."
    for entry in unit.all("PublishPort"):
        if problem := _port_problem(entry.value):
            yield f"`PublishPort={entry.value}`: {problem}.", entry.at, ""
    if unit.kind == "container":
        yield from _container_problems(unit)
    if unit.image:
        try:
            REFERENCE.read(unit.image)
        except ValueError as error:
            named = content.last(section, "Image")
            yield f"`Image={unit.image}`: {error}.", named.at if named else unit.at, ""
    if unit.kind == "build":
        for named in (content.last(section, key) for key in ("File", "SetWorkingDirectory")):
            if named and not re.match(r"/|%|https?://|git://|git@|github\.com", named.value):
                yield (
                    f"`{named.key}={named.value}` is beside {unit.name}, and the node would have nothing of it.",
                    named.at,
                    _FIX_BUILD,
                )
    for entry in content.all("Install", "WantedBy"):
        if unit.run_as and "default.target" not in entry.value.split() and "multi-user.target" in entry.value.split():
            yield (
                f"{unit.run_as} runs {unit.name}, and a user's manager has no multi-user.target to start it.",
                entry.at,
                "Write `WantedBy=default.target`.",
            )


def _container_problems(unit: QuadletUnit) -> Iterator[tuple[str, Position, str]]:
    content = unit.content
    if unit.value("Image") and unit.value("Rootfs"):
        yield f"{unit.name} has both `Image=` and `Rootfs=`.", unit.at, "Take one."
    kind = content.last("Service", "Type")
    if kind and kind.value not in ("notify", "oneshot"):
        yield f"`Type={kind.value}` is none that Podman allows for a container.", kind.at, "It is notify or oneshot."
    kill = content.last("Service", "KillMode")
    if kill and kill.value not in ("mixed", "control-group"):
        yield f"`KillMode={kill.value}` is none that Podman allows.", kill.at, "It is mixed or control-group."
    if unit.value("Pod"):
        for entry in unit.all("PublishPort"):
            yield f"{unit.name} is in a pod, which publishes the ports.", entry.at, "Move `PublishPort=` to the pod."
    for entry in unit.all("Mount"):
        if re.search(r"(?:^|,)(?:source|src)=\.", entry.value):
            yield (
                f"`Mount={entry.value}` names a path beside {unit.name}.",
                entry.at,
                "Write it as `Volume=`, and it goes to the node; or name an absolute path of the node.",
            )


_PUBLISHED = re.compile(
    r"(?:(?P<address>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]):)?(?P<first>\d+)(?:-(?P<last>\d+))?:"
    r"(?P<inner>\d+)(?:-(?P<inner_last>\d+))?(?:/(?P<protocol>tcp|udp))?",
    re.ASCII,
)


def _port_problem(text: str) -> str:
    """Why Podman would not publish the ports that ``PublishPort=`` names; empty if it would, or may.

    Podman's ``pkg/specgenutil/ports.go`` refuses the same, but only when the container starts.
    """
    match = _PUBLISHED.fullmatch(text)
    if not match:
        return ""
    if any(each.strip("0") == "" or len(each) > 5 or int(each) > _PORT_MOST for each in match.groups()[1:5] if each):
        return f"a port is a number from 1 to {_PORT_MOST}"
    lengths = [
        int(match[last] or match[first]) - int(match[first])
        for first, last in (("first", "last"), ("inner", "inner_last"))
    ]
    if min(lengths) < 0:
        return "a range ends at a higher port than it begins with"
    if lengths[0] != lengths[1]:
        return "the range of the node has another length than the container's"
    return ""


def _published(text: str) -> Iterator[Port]:
    """The ports of ``PublishPort=``: ``[[ADDRESS:][NODE]:]CONTAINER[/PROTOCOL]``, each a number or a range.

    Podman itself chooses where no port of the node is named; what systemd has yet to expand is not known.
    """
    match = _PUBLISHED.fullmatch(text)
    if not match or _port_problem(text):
        return
    first, inner = int(match["first"]), int(match["inner"])
    for offset in range(int(match["last"] or first) - first + 1):
        yield Port(
            node=first + offset,
            container=inner + offset,
            protocol=match["protocol"] or "tcp",
            address=match["address"] or "",
        )


def started(units: Sequence[QuadletUnit], elsewhere: str) -> set[str]:
    """The names of those Quadlet files whose services something starts.

    Args:
        units: All of a node.
        elsewhere: The texts of other units of the node: timers, services.
    """
    by_service = {unit.service: unit for unit in units}
    by_name = {unit.name: unit for unit in units}
    pending = [unit for unit in units if unit.installed or _named(unit, elsewhere)]
    reached = {unit.name for unit in pending}
    while pending:
        unit = pending.pop()
        others = [by_service.get(name) or by_name.get(name) for name in unit.pulled]
        others += [by_name.get(name) for name, _ in unit.references]
        if unit.kind == "pod":
            others += [
                each for each in units
                if each.value("Pod") == unit.name and each.value("StartWithPod").lower() not in ("no", "false", "0")
            ]  # fmt: skip
        for other in others:
            if other and other.name not in reached:
                reached.add(other.name)
                pending.append(other)
    return reached


def _named(unit: QuadletUnit, texts: str) -> bool:
    stem = unit.service.removesuffix(".service")
    return any(f"{stem}.{kind}" in texts for kind in ("service", "timer", "socket", "path"))


assert {kind.capitalize() for kind in SUFFIXES} <= KEYS.keys()
