"""Node: one machine, its data disks, and its readiness, as one component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from fleet.config import compressed
from fleet.dynamic import tokens
from fleet.dynamic.drain import Drain
from fleet.dynamic.gate import Gate, Roster
from fleet.dynamic.outputs import sealed
from fleet.dynamic.ready import Ready
from fleet.plan import NodePlan, Peer
from fleet.platforms.base import Instance, Platform, Site, report_access


class DataDisk(pulumi.ComponentResource):
    """A data disk of a node: no change of its node replaces or deletes it, and ``destroy`` keeps it.

    Args:
        platform: Where.
        site: Where, too: its resources.
        node: The node it is attached to.
        name: Its name in the spec.
        opts: Resource options.

    Attributes:
        resource: The platform's disk.
    """

    resource: pulumi.Resource

    def __init__(
        self, platform: Platform, site: Site, node: NodePlan, name: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(tokens.DATA_DISK, f"{node.name}-{name}", None, opts)
        disk = next(disk for disk in node.disks if disk.name == name)
        self.resource = site.data_disk(node, disk, pulumi.ResourceOptions(parent=self, retain_on_delete=True))
        self.register_outputs({"place": platform.place} if platform.place else {})


class Node(pulumi.ComponentResource):
    """A node. Any change of its config re-provisions it: the old machine goes, then a new one comes from a fresh image.

    Args:
        platform: Where.
        site: Where, too: its resources.
        plan: What.
        address: What reaches the node, whichever machine it is.
        roster: The nodes of its group, for the gate.
        down: How many nodes of the group may be down at once.
        pause: Seconds to wait before it is this node's turn.
        after: Resources to wait for before this node's machine is touched, such as another node's :attr:`ready`.
        ready_after: Resources to wait for before this node is asked whether it is ready.
        opts: Resource options.

    Attributes:
        instance: The machine.
        disks: Its data disks by name.
        ready: Exists once the machine answered its probes.
    """

    instance: Instance
    disks: Mapping[str, DataDisk]
    ready: Ready

    def __init__(
        self,
        platform: Platform,
        site: Site,
        plan: NodePlan,
        *,
        address: pulumi.Input[str],
        roster: Roster,
        down: int = 1,
        pause: float = 0,
        after: Sequence[pulumi.Input[pulumi.Resource]] = (),
        ready_after: Sequence[pulumi.Input[pulumi.Resource]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(tokens.NODE, plan.name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Those that are taken over first: new ones are made where they are.
        disks = sorted(plan.disks, key=lambda disk: not disk.existing)
        self.disks = {disk.name: DataDisk(platform, site, plan, disk.name, child) for disk in disks}
        gate = Gate(
            plan.name,
            trigger=sealed(plan, platform.trigger(plan)),
            shape=(shape := platform.shape(plan)),
            image=platform.image(plan),
            follow_image=plan.follow_image,
            roster=roster,
            down=down,
            pause=pause,
            needs=site.needs(plan),
            reprovision=plan.reprovision,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        self.instance = site.instance(plan, {name: disk.resource for name, disk in self.disks.items()}, [gate], child)
        self.ready = Ready(
            Peer(
                plan.name,
                self.instance.address,
                self.instance.endpoints,
                plan.probes,
                self.instance.watch,
                plan.hidden,
                report_access(platform, plan),
            ),
            instance=self.instance.id,
            timeout=plan.ready_timeout,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.instance.resources, *ready_after]),
        )
        if self.instance.hand_over:
            self.instance.hand_over([self.ready])
        if plan.drain:
            Drain(
                plan.name,
                function=plan.drain.function,
                timeout=plan.drain.timeout,
                instance=self.instance.id,
                address=self.instance.address,
                watch=self.instance.watch if self.instance.watch and self.instance.watch.lives else None,
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(self.instance.resources)),
            )
        # Known once the machine is there, so the state never says that a config is deployed which is not.
        instance_id = self.instance.id
        self._address = address
        open_ports = {port.number for port in plan.ports if port.protocol == "tcp" and port.sources}
        self._ports = sorted((open_ports | self.instance.endpoints.keys()) - {plan.report})
        self.register_outputs(
            {
                **self._shown(plan),
                "digest": sealed(plan, instance_id.apply(lambda _: plan.config.digest)),
                "address": address,
                "shape": instance_id.apply(lambda _: dict(shape)),
                # What came from other resources, to say why a later update re-provisions the node.
                **({"outputs": sealed(plan, instance_id.apply(lambda _: dict(plan.outputs)))} if plan.outputs else {}),
            }
        )

    def _shown(self, plan: NodePlan) -> dict[str, pulumi.Output[str]]:
        """What may be shown of the config, as :meth:`fleet.program.exported.Configs` reads it."""
        instance_id = self.instance.id
        if plan.shown_in_state:
            return {"config": instance_id.apply(lambda _: plan.shown)}
        if self.instance.holds_config and not plan.secret:
            # The digest tells that it is the one.
            return {}
        return {"packed": instance_id.apply(lambda _: compressed(plan.shown))}

    def describe(self) -> dict[str, pulumi.Input[object]]:
        """What a stack exports about the node."""
        endpoints: dict[str, pulumi.Input[str]] = {}
        for port in self._ports:
            host, number = self.instance.endpoints.get(port, (self._address, port))
            endpoints[str(port)] = pulumi.Output.concat(host, f":{number}")
        return {
            "address": self._address,
            "endpoints": endpoints,
            "ssh": self.instance.ssh,
            "console": self.instance.console,
            # Known only once the node is ready, so a stack whose node is not shows no such output as if it were.
            "ready": self.ready.id,
        }
