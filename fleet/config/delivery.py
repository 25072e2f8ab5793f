"""Delivery: how a config reaches a node on a platform that limits the size of user data.

Raw JSON if it fits. Else a *stub*: a small config that has Ignition replace it by the real one, from a ``data:`` URL
that holds it compressed. Else, where the platform can, a stub that names an object in the platform's store, with the
object's hash. Ignition refuses user data that is gzip itself (coreos/ignition#1100), but takes a compressed ``data:``
URL since spec 3.1.
"""

from __future__ import annotations

import hashlib
import json

from fleet.config import _transpiler
from fleet.errors import FleetError
from fleet.plan import Delivery, Limits, MachineConfig

_LARGEST_SHOWN = 5
_REPORT = "fleet-report.socket"
"""The unit by which a config has the node's report."""


def deliver(config: MachineConfig, limits: Limits, *, node: str, shown: str = "") -> Delivery:
    """Choose how to deliver a config.

    Args:
        config: The config.
        limits: The platform's.
        node: The node's name, for the error.
        shown: The config as it may be shown, if it holds a secret.

    Raises:
        FleetError: It is too large in every way; lists its largest entries.
    """
    if limits.raw is None or len(config.ignition.encode()) <= limits.raw:
        return Delivery(user_data=config.ignition)
    stub = _stub(f"data:;base64,{compressed(config.ignition)}")
    if limits.most is None or len(stub) <= limits.most:
        return Delivery(user_data=stub)
    if limits.store:
        sha512 = hashlib.sha512(config.ignition.encode()).hexdigest()
        known = hashlib.sha512(f"{node}\n{shown}".encode()).hexdigest() if shown else sha512
        name = f"{known[:32]}.ign"
        return Delivery(_stub(limits.store + name, sha512=sha512), upload=config.ignition, object=name)
    largest = ", ".join(f"{what} ({size} bytes)" for size, what in _sizes(config)[:_LARGEST_SHOWN])
    raise FleetError(
        f"The config of {node} is {len(config.ignition.encode())} bytes, {len(stub)} of user data when compressed, but "
        f"the platform takes {limits.most}. Its largest entries are {largest}.",
        fix=_ways_out(config, limits),
    )


def compressed(text: str) -> str:
    """A text as gzip makes it, in base64: the same for the same text."""
    data: str = _transpiler.shared().call("compress", text=text)["data"]
    return data


def packed(user_data: str) -> str:
    """User data as a platform is given it: a config in a stub that holds it compressed, where that is shorter.

    A state has a machine's user data twice, among its inputs and its outputs, and is saved at every step of an update.
    What is planned (:class:`~fleet.plan.Delivery`), and so what re-provisions a node, is without it: how a config is
    packed may change, and resources ignore a change of their user data alone.

    Args:
        user_data: As planned: a config, or a stub.
    """
    if "config" in json.loads(user_data)["ignition"]:
        # It is a stub, or another that names configs to fetch.
        return user_data
    stub = _stub(f"data:;base64,{compressed(user_data)}")
    return min(user_data, stub, key=len)


def _ways_out(config: MachineConfig, limits: Limits) -> str:
    ways = ["have a unit of the node fetch what is large", "put it in a container image"]
    if limits.option:
        ways.append(f"have the platform store it, with its option `{limits.option}`")
    if any(unit["name"] == _REPORT for unit in config.tree.get("systemd", {}).get("units", [])):
        ways.append("leave out the node's report, with `report: false` beside `groups`")
    listed = f"{', '.join(ways[:-1])}, or {ways[-1]}."
    return listed[0].upper() + listed[1:]


def _stub(source: str, *, sha512: str = "") -> str:
    replace: dict[str, object] = {"source": source}
    if sha512:
        replace["verification"] = {"hash": f"sha512-{sha512}"}
    else:
        replace["compression"] = "gzip"
    return json.dumps(
        {"ignition": {"config": {"replace": replace}, "version": "3.1.0"}}, sort_keys=True, separators=(",", ":")
    )


def _sizes(config: MachineConfig) -> list[tuple[int, str]]:
    """Size in bytes and name of every file and unit, largest first."""
    sizes = []
    for entry in config.tree.get("storage", {}).get("files", []):
        sizes.append((len(json.dumps(entry, ensure_ascii=False).encode()), f"file {entry['path']}"))
    for entry in config.tree.get("systemd", {}).get("units", []):
        sizes.append((len(json.dumps(entry, ensure_ascii=False).encode()), f"unit {entry['name']}"))
    return sorted(sizes, key=lambda item: (-item[0], item[1]))
