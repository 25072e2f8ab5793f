"""The process that carries the frames of a stack's machines on this host. It needs nothing but the standard library.

It runs from its file, by whose name people, and other versions of fleet, know it:
``qemu_switch.py STATE NETWORK LOCK PRIVATE OUTWARD INWARD [GROUP PROCESS...]``. What follows the
state folder are descriptors that it inherits: the network folder, the file whose lock it holds for as long as it runs,
and its three datagram sockets, which are bound in that folder. :mod:`fleet.platforms.qemu.network` starts and ends it.

Every machine has sockets of its own in the folder, one for each of its kinds of frames:

- ``NODE.private`` and ``private``: its card in the private network. This is a switch: it learns from the senders of
  frames at which machine an Ethernet address is, and gives a frame for an unknown one to all.
- ``NODE.outward``, its other card, and ``outward``: what goes out. A :class:`Fence` lets through what a node needs, to
  ``NODE.inward``.
- ``NODE.inward``, QEMU's user network, and ``inward``: what comes in, to ``NODE.outward``.

Datagrams need no connection: whichever of the processes starts anew, the others go on. The folder's mode keeps
everybody else out.

Machines that an earlier fleet has started have their private network on a multicast group of the loopback interface,
where every local user can read and write. While such machines of the stack run, the group is one more port of the
switch, so that old and new nodes reach one another in a rollout; when the last has ended it is left for good.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

KINDS = ("private", "outward", "inward")

GATEWAY, NAME_SERVER = bytes((10, 0, 2, 2)), bytes((10, 0, 2, 3))
"""What QEMU's user network is for its node; every other address of 10.0.2.0/24 leads to the host's loopback, too."""
_USER_NETWORK = bytes((10, 0, 2))
_BROADCAST = b"\xff\xff\xff\xff"
_ARP, _IPV4 = b"\x08\x06", b"\x08\x00"
_ICMP, _TCP, _UDP = 1, 6, 17
_DNS, _DHCP = 53, 67
_SYN, _ACK = 0x02, 0x10
_FLOW_SECONDS = 240.0
"""How long QEMU's user network keeps a UDP conversation (libslirp, ``SO_EXPIRE``)."""
_MOST_FLOWS = 4096

_LARGEST = 65536
_AT_ONCE = 64
"""Frames that are taken from one socket before the others have their turn."""
_MOST_WAITING = 256
"""Frames that wait for a machine which does not take them; further ones are lost, as on any wire."""
_MOST_LEARNED = 4096
"""Ethernet addresses that the switch remembers; a node may make up as many as it likes."""
_TICK = 1_000_000_000
"""Nanoseconds, more than enough, in which a folder may change twice and have one time of change."""
_LOOK = 10.0
"""Seconds after which it looks whether its folder is still there."""
_SENDER = re.compile(r"(?:.*/)?([a-z0-9-]+)\.(private|outward|inward)")
_OLDER = "multicast"
"""The group, as a port of the switch; no file of a machine has this name."""


class Fence:
    """What a node may send to its host's user network.

    Everything for the world, and nothing for the host itself but questions to the name and address servers that QEMU
    has there, and answers to what came in over a forwarded port.

    QEMU would lead whatever is for an address of 10.0.2.0/24, or for 127.0.0.0/8, to the host's loopback interface.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flows: dict[bytes, float] = {}

    def incoming(self, frame: bytes) -> None:
        """Note a frame for the node: what it may answer."""
        start = _payload(frame)
        if start and frame[23] == _UDP and frame[26:29] == _USER_NETWORK and not _fragment(frame):
            if len(self._flows) >= _MOST_FLOWS:
                old = self._clock() - _FLOW_SECONDS
                self._flows = {flow: seen for flow, seen in self._flows.items() if seen > old}
            if len(self._flows) < _MOST_FLOWS:
                self._flows[frame[26:30] + frame[start : start + 4]] = self._clock()

    def admits(self, frame: bytes) -> bool:
        """Whether a frame of the node's may go out."""
        if frame[12:14] == _ARP:
            return True
        start = _payload(frame)
        if not start:
            return False
        to = frame[30:34]
        if to[:3] == _USER_NETWORK or to == _BROADCAST:
            return not _fragment(frame) and self._for_host(frame, start, to)
        # "This" host and loopback; link-local, where clouds have what they tell their machines; multicast and above.
        return to[0] not in (0, 127) and to[:2] != b"\xa9\xfe" and to[0] < 224

    def _for_host(self, frame: bytes, start: int, to: bytes) -> bool:
        kind, port = frame[23], int.from_bytes(frame[start + 2 : start + 4], "big")
        if kind == _ICMP:
            return to in (GATEWAY, NAME_SERVER)
        if to == NAME_SERVER and kind in (_TCP, _UDP) and port == _DNS:
            return True
        if kind == _TCP:
            # QEMU begins a connection at nothing else; an answer to one that came in has both flags.
            return len(frame) > start + 13 and frame[start + 13] & (_SYN | _ACK) != _SYN and to != _BROADCAST
        if kind != _UDP:
            return False
        if port == _DHCP:
            return to in (GATEWAY, _BROADCAST)
        answered = self._flows.get(to + frame[start + 2 : start + 4] + frame[start : start + 2])
        return answered is not None and self._clock() - answered < _FLOW_SECONDS


def _payload(frame: bytes) -> int:
    """Where the payload of an IPv4 packet begins in a frame; 0 if it is none, or cut off before its ports."""
    if frame[12:14] != _IPV4 or len(frame) < 38 or frame[14] >> 4 != 4:
        return 0
    start = 14 + (frame[14] & 15) * 4
    return start if start >= 34 and len(frame) >= start + 4 else 0


def _fragment(frame: bytes) -> bool:
    return bool(int.from_bytes(frame[20:22], "big") & 0x3FFF)


class Port:
    """The way to a socket of a machine. Frames that it does not take at once wait in a queue.

    Args:
        path: The socket, in the network folder, which is the folder that this process works in.
        selector: Told when there are frames that wait.
    """

    def __init__(self, path: str, selector: selectors.BaseSelector) -> None:
        self._path, self._selector = path, selector
        self._waiting: deque[bytes] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._connected = False

    def send(self, frame: bytes) -> None:
        """Send a frame, or lose it: a machine may be about to end or to begin."""
        if self._waiting:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(frame)
        elif not self._sent(frame):
            self._waiting.append(frame)
            self._selector.register(self._socket, selectors.EVENT_WRITE, self.flush)

    def flush(self) -> None:
        """Send what waits, as far as the machine takes it."""
        if not self._waiting:
            return  # closed by what was read in the same turn
        while self._waiting and self._sent(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._selector.unregister(self._socket)

    def close(self) -> None:
        """Send nothing any more."""
        if self._waiting:
            self._selector.unregister(self._socket)
            self._waiting.clear()
        self._socket.close()

    def _sent(self, frame: bytes) -> bool:
        """Whether there is nothing more to do for a frame."""
        for _ in range(2):
            try:
                if not self._connected:
                    # A socket that waits for another one is told when that takes more only if they are connected.
                    self._socket.connect(self._path)
                    self._connected = True
                self._socket.send(frame)
            except BlockingIOError:
                return False
            except OSError:
                # The machine ended. Another may be at the same path by now.
                if not self._connected:
                    return True
                self._connected = False
                continue
            return True
        return True


class Switch:
    """All ports of a stack's machines.

    Args:
        sockets: By kind, the sockets that machines send to; this process works in the folder that they are bound in.
        folder: A descriptor of that folder.
        group: The multicast group of older machines, ``ADDRESS:PORT``.
        older: Descriptors of their processes.
    """

    def __init__(
        self, sockets: dict[str, socket.socket], folder: int, group: str = "", older: Iterable[int] = ()
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._folder = folder
        self._ports: dict[str, Port] = {}
        self._fences: dict[str, Fence] = {}
        self._learned: dict[bytes, str] = {}
        self._listed: tuple[int, list[str]] = (-1, [])
        self._older = set(older)
        self._group: tuple[str, int] | None = None
        for kind, each in sockets.items():
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ, self._reader(each, getattr(self, f"_{kind}")))
        if self._older:
            self._join(group)

    def serve(self) -> None:
        """Carry frames until the folder is gone."""
        while os.fstat(self._folder).st_nlink:
            for key, _ in self._selector.select(_LOOK):
                key.data()

    def _reader(self, each: socket.socket, take: Callable[[str, bytes], None]) -> Callable[[], None]:
        def read() -> None:
            for _ in range(_AT_ONCE):
                try:
                    frame, sender = each.recvfrom(_LARGEST)
                except BlockingIOError:
                    return
                node = _SENDER.fullmatch(os.fsdecode(sender)) if sender else None
                if node and len(frame) >= 14:
                    take(node[1], frame)

        return read

    def _outward(self, node: str, frame: bytes) -> None:
        if self._fence(node).admits(frame):
            self._port(f"{node}.inward").send(frame)

    def _inward(self, node: str, frame: bytes) -> None:
        self._fence(node).incoming(frame)
        self._port(f"{node}.outward").send(frame)

    def _private(self, node: str, frame: bytes) -> None:
        self._forward(f"{node}.private", frame)

    def _forward(self, sender: str, frame: bytes) -> None:
        if len(self._learned) >= _MOST_LEARNED:
            self._learned.clear()
        self._learned[frame[6:12]] = sender
        # The lowest bit of the first byte is set in addresses of many.
        known = None if frame[0] & 1 else self._learned.get(frame[:6])
        for path in (known,) if known else (*self._members(), _OLDER):
            if path == sender:
                continue
            if path != _OLDER:
                self._port(path).send(frame)
            elif self._group:
                with contextlib.suppress(OSError):
                    self._to_group.sendto(frame, self._group)

    def _members(self) -> list[str]:
        """The sockets of all machines in the private network."""
        changed = os.fstat(self._folder).st_mtime_ns
        # Two changes within a tick of the kernel's clock have one time.
        if self._listed[0] != changed or time.time_ns() - changed < _TICK:
            names = [path.name for path in Path().glob("*.private")]
            self._listed = changed, sorted(names)
            # What went is forgotten, so that a card that moved is asked for anew.
            self._learned = {mac: path for mac, path in self._learned.items() if path in {*names, _OLDER}}
            for path in [path for path in self._ports if path.endswith(".private") and path not in names]:
                self._ports.pop(path).close()
        return self._listed[1]

    def _port(self, path: str) -> Port:
        if path not in self._ports:
            self._ports[path] = Port(path, self._selector)
        return self._ports[path]

    def _fence(self, node: str) -> Fence:
        return self._fences.setdefault(node, Fence())

    def _join(self, group: str) -> None:
        address, _, port = group.rpartition(":")
        self._group = address, int(port)
        loopback = socket.inet_aton("127.0.0.1")
        self._to_group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to_group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        self._to_group.bind(("127.0.0.1", 0))
        self._from_group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._from_group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._from_group.bind(self._group)
        member = struct.pack("4s4s", socket.inet_aton(address), loopback)
        self._from_group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        self._selector.register(self._from_group, selectors.EVENT_READ, self._read_group)
        for process in self._older:
            self._selector.register(process, selectors.EVENT_READ, self._leaver(process))

    def _read_group(self) -> None:
        if not self._group:
            return  # left in the same turn
        own = self._to_group.getsockname()
        for _ in range(_AT_ONCE):
            try:
                frame, sender = self._from_group.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            if sender != own and len(frame) >= 14:
                self._forward(_OLDER, frame)

    def _leaver(self, process: int) -> Callable[[], None]:
        def leave() -> None:
            self._selector.unregister(process)
            self._older.discard(process)
            if not self._older:
                self._selector.unregister(self._from_group)
                self._from_group.close()
                self._to_group.close()
                self._group = None
                self._learned = {mac: path for mac, path in self._learned.items() if path != _OLDER}

        return leave


def main(arguments: list[str]) -> None:
    """Become a daemon and serve."""
    folder, lock, *sockets = map(int, arguments[1:6])
    group, older = (arguments[6], [int(each) for each in arguments[7:]]) if len(arguments) > 6 else ("", [])
    os.fchdir(folder)
    kinds = dict(zip(KINDS, (socket.socket(fileno=each) for each in sockets), strict=True))
    switch = Switch(kinds, folder, group, older)
    # Only now: whoever waits for this process to return finds it in the group.
    if pid := os.fork():
        os.write(lock, f"{pid}\n".encode())
        os._exit(0)
    switch.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
