"""Ready: the resource whose creation waits until a node answers its probes, and all that is to run on it does.

A resource and not a hook: a failed create is not in the state, so the next update polls again, and still stops there,
until the node is well; after a failed hook the next update would take the node for done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, UpdateResult
from pulumi.resource import DependencyResource

from fleet.dynamic import tokens
from fleet.dynamic.outputs import independent
from fleet.dynamic.provider import DynamicResource, Provider, known, tell
from fleet.masking import Mask

if TYPE_CHECKING:
    from fleet.plan import Peer
    from fleet.probes import Endpoint

_IDENTITY = ("instance", "address", "endpoints", "probes")
"""A change of these asks the probes anew. A longer time-out does not."""


class Watcher(Protocol):
    """How a platform observes a starting instance."""

    def alive(self) -> bool:
        """Whether it still runs."""
        ...

    def console(self) -> str:
        """The end of its serial console, as the machine wrote it.

        Raises:
            FleetError: It cannot be read; says why.
        """
        ...

    def reaches(self, local_port: int) -> bool:
        """Whether the TCP connection from this local port has arrived in the node, not only at a forwarder."""
        ...


class ReadyProvider(Provider, name="fleet.components.ready:ReadyProvider"):
    """The provider of readiness: polls the probes and the report."""

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Leave out what shows a console, and the host's name, where the node is ready, and its state has had none.

        The engine notes new inputs even where nothing is to be done, and a stack that an earlier fleet has deployed is
        to stay as it is.
        """
        is_same = known(news.get("instance")) and (olds or {}).get("instance") == news.get("instance")
        if is_same and "watch" not in olds:
            news = {key: value for key, value in news.items() if key != "watch"}
        if is_same and "host" in (news.get("report") or {}) and "host" not in (olds.get("report") or {}):
            news = {**news, "report": {key: value for key, value in news["report"].items() if key != "host"}}
        return CheckResult(news, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another instance is asked anew, by replacement; all else is noted in place."""
        changed = [key for key in _IDENTITY if not known(news.get(key)) or olds.get(key) != news.get(key)]
        # What an earlier fleet wrote into the state in plain text is written anew, sealed.
        unsealed = "hidden" in news and "hidden" not in olds
        return DiffResult(changes=bool(changed) or unsealed, replaces=changed)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Poll until probes pass and the report is well, and tell of it; on a timeout, say the first cause.

        The times at which that ``began``, and at which it ``passed``, are outputs for the history alone.

        Raises:
            FleetError: The node is not ready in time, or it is gone.
        """
        began = int(time.time())
        from fleet.dynamic.waiting import Waiting
        from fleet.plan import SSH_PORT, Probe, ReportAccess
        from fleet.probes import NotReadyError, read_journal, wait

        mask, node = Mask(props.get("hidden") or {}), props["node"]
        address, watcher = props["address"], watcher_of(props.get("watch"))
        endpoint, access = endpoints_of(address, props["endpoints"]), ReportAccess.read(props.get("report"))
        has_ssh = (access and access.ssh) or str(SSH_PORT) in props["endpoints"]
        settle = (access and access.settle) or 0
        waiting = Waiting(
            node,
            watcher,
            settle=settle,
            mask=mask,
            journal=lambda unit: read_journal(endpoint, unit) if has_ssh else (),
        )
        with waiting:
            try:
                wait(
                    [Probe.model_validate(probe) for probe in props["probes"]],
                    address,
                    endpoint,
                    timeout=props["timeout"],
                    alive=watcher.alive if watcher else lambda: True,
                    reaches=watcher.reaches if watcher else lambda port: True,
                    mask=mask,
                    report=access,
                    unknown=lambda why: tell(f"{node}: whether its containers run is not known: {why}."),
                    progress=waiting.turn,
                )
            except NotReadyError as error:
                raise waiting.failure(error) from None
        return CreateResult(props["instance"], {**props, "began": began, "passed": int(time.time())})

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Seal what an earlier fleet wrote into the state in plain text."""
        # Nothing is asked: it is the same node, ready as before.
        return UpdateResult({**{key: olds[key] for key in ("began", "passed") if key in olds}, **news})


def endpoints_of(address: str, endpoints: Mapping[str, Any]) -> Endpoint:
    """How to reach a node's ports, from the inputs of a resource."""
    known_ports = {int(port): (host, int(number)) for port, (host, number) in endpoints.items()}
    return lambda port: known_ports.get(port, (address, port))


def watcher_of(watch: Mapping[str, str] | None) -> Watcher | None:
    """What looks at an instance, from the inputs of a resource."""
    if not watch:
        return None
    watcher: Watcher = tokens.function(watch["function"])(watch["argument"])
    return watcher


class Ready(DynamicResource, token=tokens.READY, provider=ReadyProvider):
    """A node that passed its probes.

    Args:
        node: How to ask it, and to look at its instance meanwhile.
        instance: The instance's id: another instance is asked anew.
        timeout: Seconds for all probes.
        opts: Resource options.
    """

    def __init__(
        self,
        node: Peer,
        *,
        instance: pulumi.Input[str],
        timeout: int,
        opts: pulumi.ResourceOptions,
    ) -> None:
        described = node.describe()
        if node.hidden:
            described |= {key: pulumi.Output.secret(described[key]) for key in ("probes", "hidden")}
        props = {"node": node.name, "instance": instance, "timeout": timeout, **described}
        super().__init__(node.name, props, opts)

    @property
    def passed(self) -> pulumi.Output[pulumi.Resource]:
        """The resource, as what other nodes wait for.

        Whenever a resource depends on another, Pulumi looks for cycles in all that the other depends on in turn, which
        along a chain of nodes takes time that grows faster than its square. Here the search ends; no cycle is missed,
        as each node waits for earlier ones alone.
        """

        async def reference() -> pulumi.Resource:
            return DependencyResource(str(await self.urn.future()))

        return independent(reference())
