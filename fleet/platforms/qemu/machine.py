"""One QEMU process a node, with a folder of its own. Nothing here knows Pulumi.

A node's folder holds all of it: ``node.json`` (its id), ``config.ign``, ``root.qcow2`` (an overlay on the image),
``console.log``, ``qemu.pid`` and ``qmp.sock``. What machines send goes through :mod:`fleet.platforms.qemu.network`, in
a folder beside those of the nodes. A folder belongs to one node name, and at most one process runs from it:
starting a node first ends and clears whatever an interrupted update left there, a QEMU among it that has not yet come
to write its ``qemu.pid``. Data disks lie elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.files import private_folder, read_json, write_private
from fleet.platforms.consoles import END
from fleet.platforms.qemu import accelerator, network, tokens
from fleet.platforms.qemu.accelerator import BINARY, Answer, Choice

_GRACE = 40.0
"""Seconds that a machine has to shut down before it is killed; what is not yet written to a data disk is lost then."""
_PRIVATE = 0o077
"""The umask of what makes files: consoles, disks and sockets are nobody's but their owner's."""


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads to a port of the node.

    Attributes:
        host: The host's port.
        node: The node's.
        protocol: "tcp" or "udp".
        bind: The host's address that it listens on; that of the machine's others if it is empty.
    """

    host: int
    node: int
    protocol: str = "tcp"
    bind: str = ""


@dataclass(frozen=True)
class Attached:
    """A data disk of a node: its name in the spec and its file."""

    name: str
    path: str


@dataclass(frozen=True)
class Machine:
    """All that makes a machine.

    Attributes:
        name: The node's name.
        ignition: Its Ignition config.
        base: The image, a qcow2 file that no one writes to.
        memory_mib: Memory in MiB.
        cpus: Number of virtual CPUs.
        root_gib: Size of the root disk in GiB.
        bind: The host's address that forwarded ports listen on.
        forwards: Forwarded ports.
        disks: Data disks.
        private: The multicast group that machines of earlier fleets have for the private network, ``ADDRESS:PORT``,
            and the MAC address of this end.
    """

    name: str
    ignition: str
    base: Path
    memory_mib: int
    cpus: int
    root_gib: int
    bind: str
    forwards: Sequence[Forward]
    disks: Sequence[Attached]
    private: tuple[str, str] | None = None


def start(folder: Path, machine: Machine, choice: Choice = "auto", tell: Callable[[str], None] = print) -> str:
    """Start a new machine, in the place of any that is there, and return its id.

    Args:
        folder: The node's folder.
        machine: What to start.
        choice: The accelerator. With "auto", a machine in which KVM brings no kernel to run is started once more,
            emulated.
        tell: Told in a sentence what KVM turned out not to do.

    Raises:
        FleetError: QEMU is not there or refuses to start, KVM is chosen and does not work, a port is in use, or the
            folder cannot be written.
    """
    check_accelerator(choice)
    choice = accelerator.chosen(choice)
    stop(folder)
    check_start(folder, machine.name, machine.bind, machine.forwards)
    identity = f"{machine.name}-{secrets.token_hex(4)}"
    if choice == "tcg":
        _launch(folder, identity, machine, accelerator.TCG)
        return identity
    answer = accelerator.known()
    with accelerator.turn() if answer.works is None else contextlib.nullcontext():
        # Another node may have found out meanwhile.
        answer = accelerator.known() if answer.works is None else answer
        if choice == "kvm":
            accelerator.require(answer)
        if answer.works is False:
            _launch(folder, identity, machine, accelerator.TCG)
            return identity
        proved = _try_kvm(folder, identity, machine, watch=answer.works is None)
        if not proved.works:
            _kill(folder, identity)
            _clear(folder)
            if choice == "kvm":
                accelerator.remember(proved)
                accelerator.require(proved)
            _launch(folder, identity, machine, accelerator.TCG)
            tell(
                f"KVM does not work on this host: {proved.why}. Node {machine.name} was started anew without it, and "
                "until the host boots again nodes are emulated, which makes a boot take a minute or more. If the image "
                f"was at fault, remove {accelerator.memory()} to have KVM tried again."
            )
        # Only now: a machine that does not start without KVM either is no proof.
        accelerator.remember(proved)
    return identity


def _try_kvm(folder: Path, identity: str, machine: Machine, *, watch: bool) -> Answer:
    """Start a machine under KVM and, to ``watch`` it, see whether it comes to its kernel."""
    try:
        _launch(folder, identity, machine, accelerator.KVM)
    except QemuRefusedError as error:
        return Answer(False, accelerator.refusal(error.output, error.status))
    if not watch:
        return _PROVED
    wait = accelerator.kernel_wait()
    deadline = time.monotonic() + wait
    while True:
        # In this order: a machine may come to its kernel, and end at once.
        ended = not running(folder, identity)
        with contextlib.suppress(OSError):
            if accelerator.kernel_speaks((folder / "console.log").read_bytes()):
                return _PROVED
        if ended:
            return Answer(False, "QEMU ended before a kernel spoke")
        # A kernel may have no serial console.
        with contextlib.suppress(OSError):
            if _written(folder) > _BOOT_LOADERS_WRITES:
                return _PROVED
            if _monitor(folder, "query-status")["status"] == "internal-error":
                return Answer(False, "QEMU reports an internal error of it")
        if time.monotonic() >= deadline:
            return Answer(False, f"firmware ran under it, but no kernel within {wait:.0f} s")
        time.sleep(0.2)


_PROVED = Answer(True, "a kernel ran under it on this boot of the host")
_BOOT_LOADERS_WRITES = 64 << 10
"""Bytes. GRUB may write its environment block, of 1 KiB; a kernel that mounts its root soon writes more than this."""


def _written(folder: Path) -> int:
    """Bytes that a machine has written to its root disk."""
    drives = _monitor(folder, "query-blockstats")
    return next((int(drive["stats"]["wr_bytes"]) for drive in drives if drive.get("device") == "root"), 0)


class QemuRefusedError(FleetError):
    """QEMU did not start a machine.

    Args:
        name: The node's name.
        output: What QEMU wrote on standard error.
        status: Its exit status.
    """

    def __init__(self, name: str, output: str, status: int) -> None:
        self.output, self.status = output, status
        super().__init__(f"QEMU does not start node {name}: {output.strip() or f'status {status}'}.")


def _launch(folder: Path, identity: str, machine: Machine, accelerator: Sequence[str]) -> None:
    """Start a machine with a fresh root disk in a folder that no machine runs from."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        private_folder(folder.parent)
        write_private(folder / "node.json", json.dumps({"id": identity}))
        write_private(folder / "config.ign", machine.ignition)
        _image_tool("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(machine.base), str(folder / "root.qcow2"),
                    f"{machine.root_gib}G")  # fmt: skip
        state = folder.parent.parent
        with network.joined(state, folder.name, older(state)) as descriptor:
            result = subprocess.run(
                _command(identity, machine, accelerator, descriptor),
                cwd=folder,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
                umask=_PRIVATE,
            )
        # A daemon of QEMU's has a umask of its own, 027 (os-posix.c of QEMU).
        for each in (*folder.iterdir(), *network.sockets(state, folder.name)):
            # A machine that ended at once has taken some of them with it.
            with contextlib.suppress(FileNotFoundError):
                each.chmod(0o600)
    except FleetError:
        _clear(folder)
        raise
    except OSError as error:
        _clear(folder)
        raise FleetError(
            f"Node {machine.name} cannot be made in {folder}: {error.strerror}.",
            fix="Set another folder with `state_dir` in the stack's `fleet:qemu`.",
        ) from None
    if result.returncode != 0:
        _clear(folder)
        raise QemuRefusedError(machine.name, result.stderr, result.returncode)


def _clear(folder: Path) -> None:
    """Remove the folder of a machine that does not run, and what the network has of it."""
    shutil.rmtree(folder, ignore_errors=True)
    network.leave(folder.parent.parent, folder.name)


def older(state: Path) -> network.Older:
    """The machines of a stack that an earlier fleet has started, with their private network on a multicast group."""
    group, processes = "", []
    for folder in sorted((state / "nodes").glob("*")):
        pid = _pid(folder)
        with contextlib.suppress(OSError):
            if pid and (option := re.search(r"\bmcast=([\d.]+:\d+)", Path(f"/proc/{pid}/cmdline").read_text())):
                group = option[1]
                processes.append(pid)
    return network.Older(group, processes)


def check_accelerator(choice: Choice) -> None:
    """Check the accelerator before a machine is started, and before the one that it replaces is ended.

    Raises:
        FleetError: KVM is chosen and known not to work, or an environment variable has a wrong value.
    """
    accelerator.kernel_wait()
    if accelerator.chosen(choice) == "kvm":
        accelerator.require(accelerator.known())


def check_start(folder: Path, name: str, bind: str, forwards: Sequence[Forward]) -> None:
    """Check what can be checked before a machine is started, and before the one that it replaces is ended.

    Args:
        folder: The node's folder; its neighbours are the nodes of the same stack, whose ports may change hands.
        name: The node's name.
        bind: The host's address.
        forwards: The ports wanted.

    Raises:
        FleetError: QEMU is not there, or a port is in use by something else.
    """
    if not shutil.which(BINARY):
        raise FleetError(f"{BINARY} is not on PATH.", fix="Install it: `fleet doctor` says how.")
    ours = {(f.protocol, f.host) for neighbour in folder.parent.glob("*") for f in _forwards(neighbour)}
    for forward in forwards:
        if (forward.protocol, forward.host) in ours:
            continue
        kind = socket.SOCK_DGRAM if forward.protocol == "udp" else socket.SOCK_STREAM
        address = forward.bind or bind
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, forward.host))
            except OSError as error:
                key = f"{name}:{forward.node}" + ("/udp" if forward.protocol == "udp" else "")
                raise FleetError(
                    f"Port {forward.host} of {address}, which is to lead to port {forward.node} of node {name}, cannot "
                    f"be used: {(error.strerror or str(error)).lower()}.",
                    fix="Free it, or choose another: set `port_offset`, or "
                    f'`host_ports: {{"{key}": PORT}}`, in the stack\'s `fleet:qemu`.',
                ) from None


def stop(folder: Path, identity: str | None = None) -> None:
    """End the machine of a folder and remove the folder. Does nothing where there is none.

    Args:
        folder: The node's folder.
        identity: Only if it is this machine; a later one of the same name is left alone.

    Raises:
        FleetError: It does not end.
    """
    noted = _identity(folder)
    if (noted is None and not folder.is_dir()) or (identity is not None and noted not in (identity, None)):
        return
    if noted is not None:
        with _processes(noted) as processes:
            if processes:
                with contextlib.suppress(OSError):
                    _monitor(folder, "system_powerdown")
                    _wait_for_end(processes, _GRACE)
        _kill(folder, noted)
    if folder.is_dir():
        shutil.rmtree(folder)
    network.leave(folder.parent.parent, folder.name)


def running(folder: Path, identity: str) -> bool:
    """Whether this very machine runs."""
    return _identity(folder) == identity and _pid(folder) is not None


def console(folder: Path) -> str:
    """The end of a machine's serial console, as the machine wrote it; empty if there is none."""
    try:
        with (folder / "console.log").open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - END))
            return log.read().decode("utf-8", "replace")
    except OSError:
        return ""


@named(tokens.WATCHER)
class Watcher:
    """Shows a starting machine to :class:`fleet.components.Ready`.

    Args:
        reference: The node's folder, a space, and the machine's id.
    """

    def __init__(self, reference: str) -> None:
        folder, _, self._identity = reference.rpartition(" ")
        self._folder = Path(folder)

    def alive(self) -> bool:
        """Whether the machine runs."""
        return running(self._folder, self._identity)

    def console(self) -> str:
        """The end of its serial console."""
        return console(self._folder)

    def reaches(self, local_port: int) -> bool:
        """Whether the machine accepted the forwarded connection: QEMU accepts before it knows."""
        for _ in range(10):
            try:
                table = _monitor(self._folder, "human-monitor-command", {"command-line": "info usernet"})
            except OSError:
                # Its monitor is gone, and so is the machine, or will be.
                return False
            if re.search(rf"TCP\[ESTABLISHED\].*\b{local_port}\b", table):
                return True
            time.sleep(0.1)
        return False


@named(tokens.STANDING)
class Standing(Watcher):
    """Observes the machine of a node, whichever it is.

    Args:
        folder: The node's folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder} {_identity(Path(folder)) or ''}")


def make_disk(path: Path, size_gib: int) -> None:
    """Make an empty data disk, or take over the one that is there; grow it if it is smaller.

    Raises:
        FleetError: It is larger, or cannot be made.
    """
    try:
        if path.exists():
            have = json.loads(_image_tool("info", "-U", "--output=json", str(path)))["virtual-size"]
            if have > size_gib << 30:
                raise FleetError(
                    f"The data disk {path} has {have >> 30} GiB and cannot shrink to {size_gib} GiB.",
                    fix=f"Set its `size_gib` to {have >> 30} or more.",
                )
            if have < size_gib << 30:
                _grow(path, size_gib << 30)
            return
        private_folder(path.parent)
        scratch = path.with_name(path.name + ".partial")
        _image_tool("create", "-q", "-f", "qcow2", str(scratch), f"{size_gib}G")
        scratch.replace(path)
    except OSError as error:
        raise FleetError(f"The data disk {path} cannot be made: {error.strerror}.") from None


def _grow(path: Path, size: int) -> None:
    """Grow a data disk to a size in bytes.

    The machine that has it does it, whose lock keeps everybody else off it; if none runs, qemu-img does.
    """
    for folder in _users_of(path):
        try:
            drives = _monitor(folder, "query-block")
            device = next(d["device"] for d in drives if Path(d.get("inserted", {}).get("file", "")) == path)
            _monitor(folder, "block_resize", {"device": device, "size": size})
        except (OSError, StopIteration) as error:
            raise FleetError(
                f"The data disk {path} cannot be grown by the machine in {folder} that has it: {error}.",
                fix="Run the update again once that node is ready.",
            ) from None
        return
    _image_tool("resize", "-q", str(path), str(size))


def _users_of(path: Path) -> list[Path]:
    """The folders of the machines that have a disk: where their root disks are."""
    real = Path(os.path.realpath(path))
    folders: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            opened = {each.readlink() for each in (process / "fd").iterdir()}
            if real in opened:
                folders += {each.parent for each in opened if each.name == "root.qcow2"}
    return folders


def _command(identity: str, machine: Machine, accelerator: Sequence[str], descriptor: int) -> list[str]:
    forwards = "".join(f",hostfwd={f.protocol}:{f.bind or machine.bind}:{f.host}-:{f.node}" for f in machine.forwards)
    command = [BINARY, "-name", identity, "-nodefaults", "-no-user-config", "-display", "none", "-daemonize"]
    command += ["-pidfile", "qemu.pid", "-qmp", "unix:qmp.sock,server=on,wait=off"]
    # q35's firmware and PCIe cost an emulated boot seconds, and a node has no use for them.
    command += ["-machine", "pc", *accelerator, "-smp", str(machine.cpus), "-m", str(machine.memory_mib)]
    command += ["-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"]
    command += ["-fw_cfg", "name=opt/com.coreos/config,file=config.ign"]
    command += network.options(machine.name, descriptor, forwards, machine.private[1] if machine.private else None)
    command += ["-device", "virtio-rng-pci"]
    # The root disk is made anew with its node, so it need not survive the host's power failure.
    command += ["-drive", "if=none,id=root,file=root.qcow2,format=qcow2,cache=unsafe,discard=unmap"]
    command += ["-device", "virtio-blk-pci,drive=root,bootindex=1,serial=bootdisk"]
    for index, disk in enumerate(machine.disks):
        path = disk.path.replace(",", ",,")
        command += ["-drive", f"if=none,id=data{index},file={path},format=qcow2,cache=writeback,discard=unmap"]
        command += ["-device", f"virtio-blk-pci,drive=data{index},serial={tokens.disk_serial(disk.name)}"]
    return command


def _identity(folder: Path) -> str | None:
    """The id of a folder's machine: as it was noted or, where the note is lost, as the process that runs has it."""
    try:
        return str(read_json((folder / "node.json").read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return _running_identity(folder)


def _running_identity(folder: Path) -> str | None:
    pattern = re.compile(rb"-name\0(" + re.escape(folder.name).encode() + rb"-[0-9a-f]{8})\0")
    place = str(folder.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = pattern.search((process / "cmdline").read_bytes())
            # Another stack may well have a node of the same name.
            if name and _uses(process, place):
                return name[1].decode()
    return None


def _uses(process: Path, folder: str) -> bool:
    """Whether a process has a file of a folder open, or works in it, as QEMU does until it is a daemon."""
    for link in (process / "cwd", *process.glob("fd/*")):
        with contextlib.suppress(OSError):
            if f"{link.readlink()}/".startswith(f"{folder}/"):
                return True
    return False


def _forwards(folder: Path) -> list[Forward]:
    """The ports that lead to a folder's machine, if it runs."""
    try:
        command = Path(f"/proc/{_pid(folder)}/cmdline").read_text()
    except OSError:
        return []
    forwards = re.findall(r"hostfwd=(tcp|udp):[^,]*?:(\d+)-:(\d+)", command)
    return [Forward(int(host), int(node), protocol) for protocol, host, node in forwards]


def _pid(folder: Path) -> int | None:
    """The process of a folder's machine, if it runs: a process id alone may be another's by now, or be lost."""
    identity = _identity(folder)
    if identity is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "qemu.pid").read_text())
        if _is_machine(pid, identity):
            return pid
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _is_machine(int(entry.name), identity):
                return int(entry.name)
    return None


def _is_machine(pid: int, identity: str) -> bool:
    """Whether a process that runs is a machine's.

    Raises:
        OSError: It is gone.
    """
    return b"-name\0" + identity.encode() + b"\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _kill(folder: Path, identity: str) -> None:
    # One that was just starting may have become two.
    for _ in range(3):
        with _processes(identity) as processes:
            if not processes:
                return
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            _wait_for_end(processes, 10)
    raise FleetError(
        f"The machine {identity} of {folder} does not end, though it was killed.",
        fix="Look for what its QEMU waits for, such as a disk that no longer answers.",
    )


@contextlib.contextmanager
def _processes(identity: str) -> Iterator[Sequence[int]]:
    """Descriptors of all processes of a machine that run (pidfd_open(2)).

    The one that starts QEMU and the one that goes on as a daemon are two, and neither has written a process id yet
    when an update that is killed leaves them behind.
    """
    with contextlib.ExitStack() as opened:
        descriptors = []
        for pid in [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]:
            with contextlib.suppress(OSError):
                # Opened before it is looked at: from then on its number cannot become another's.
                process = os.pidfd_open(pid)
                opened.callback(os.close, process)
                if _is_machine(pid, identity):
                    descriptors.append(process)
        yield descriptors


def _wait_for_end(processes: Sequence[int], seconds: float) -> None:
    """Wait until processes are gone with all of their threads.

    Before that, a process that ends has no command line any more, but still all of its ports: a machine's memory goes
    first, and takes a while.
    """
    deadline = time.monotonic() + seconds
    for process in processes:
        end = select.poll()
        end.register(process, select.POLLIN)
        end.poll(max(0, deadline - time.monotonic()) * 1000)


def _monitor(folder: Path, command: str, arguments: dict[str, object] | None = None) -> Any:
    """What a machine's QEMU answers to a command of its monitor.

    Raises:
        OSError: It does not answer, or refuses.
    """
    import asyncio  # slow to import, with what speaks to the monitor, and most commands on a spec ask no machine

    from qemu.qmp import QMPClient, QMPError

    async def ask() -> Any:
        client = QMPClient("fleet")
        with _short_path(folder) as path:
            await asyncio.wait_for(client.connect(f"{path}/qmp.sock"), 5)
        try:
            return await asyncio.wait_for(client.execute(command, arguments), 5)
        finally:
            with contextlib.suppress(Exception):
                await client.disconnect()

    try:
        return asyncio.run(ask())
    except QMPError as error:
        raise OSError(str(error)) from error


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path to the folder that fits a socket address, 108 bytes at most (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _image_tool(*arguments: str) -> str:
    result = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, umask=_PRIVATE)
    if result.returncode != 0:
        raise FleetError(f"qemu-img {arguments[0]} failed: {result.stderr.strip()}.")
    return result.stdout
