"""Drain: the resource whose deletion takes a node out of use before its machine goes.

A resource and not a delete hook: a hook would have to be there for a plain ``pulumi destroy`` too. It reads the
machine's id, so the engine deletes it before the machine, whenever that is replaced or removed.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, UpdateResult

from fleet.dynamic import tokens
from fleet.dynamic.provider import DynamicResource, Provider, known, tell
from fleet.dynamic.ready import watcher_of
from fleet.errors import FleetError
from fleet.processes import kill_descendants

if TYPE_CHECKING:
    from fleet.plan import Watch


class DrainProvider(Provider, name="fleet.components.drain:DrainProvider"):
    """The provider of drains: runs the drain function."""

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another instance replaces the drain, which runs the function; other changes are noted in place."""
        # Of a drain that it changed in place, an earlier fleet has left nothing but the id, which is the instance's.
        moved = not known(news["instance"]) or olds.get("instance", id_) != news["instance"]
        keys = ("function", "timeout", "address")
        return DiffResult(
            changes=moved or any(olds.get(key) != news.get(key) for key in keys),
            replaces=["instance"] if moved else [],
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Record the function to call before the instance is removed; the id is the instance's."""
        return CreateResult(props["instance"], props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Note a function, time-out or address that changed."""
        # Nothing is done: the next removal goes by what is new.
        return UpdateResult(news)

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Call the function, unless the machine has stopped; a :class:`FleetError` if it fails or takes too long."""
        if "function" not in props:
            tell(f"The machine {id_} goes without a drain: an earlier fleet has not kept what its function is.")
            return
        watcher = watcher_of(props.get("watch"))
        if watcher and not watcher.alive():
            return
        # A process of its own: a function that hangs has to be ended.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_call, args=(props["function"], props["node"], props["address"], theirs))
        worker.start()
        theirs.close()
        worker.join(props["timeout"])
        if worker.is_alive():
            kill_descendants(worker.pid or 0)
            worker.kill()
            raise _failed(props, f"it did not return within {props['timeout']} s")
        error = ours.recv() if ours.poll() else f"it ended with status {worker.exitcode}"
        if error:
            raise _failed(props, error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    try:
        parent.join()
        kill_descendants(os.getpid())
    finally:
        os._exit(1)


def _call(function: str, node: str, address: str, result: Any) -> None:
    # The next update drains the node anew.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, _, name = function.partition(":")
    try:
        getattr(importlib.import_module(module), name)(node, address)
        result.send("")
    except Exception as error:
        result.send(f"{type(error).__name__}: {error}")


def _failed(props: dict[str, Any], reason: str) -> FleetError:
    return FleetError(
        f"Node {props['node']} cannot be drained by {props['function']}: {reason}. It is left as it is.",
        fix="Mend what the function needs, or take `drain` out of the group and run the update again.",
    )


class Drain(DynamicResource, token=tokens.DRAIN, provider=DrainProvider):
    """Takes a node out of use before its machine is removed.

    Args:
        node: The node's name.
        function: ``module:function``, called with the node's name and address.
        timeout: Seconds it may take.
        instance: The instance's id.
        address: Its address.
        watch: How to see that the machine is gone already.
        opts: Resource options.
    """

    def __init__(
        self,
        node: str,
        *,
        function: str,
        timeout: float,
        instance: pulumi.Input[str],
        address: pulumi.Input[str],
        watch: Watch | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props: dict[str, Any] = {
            "node": node,
            "function": function,
            "timeout": timeout,
            "instance": instance,
            "address": address,
        }
        if watch:
            props["watch"] = watch.describe()
        super().__init__(node, props, opts)
