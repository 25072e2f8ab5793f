"""A workload: everything that runs in containers on the nodes of a group, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import PrivateAttr, model_validator

from fleet.hints import nearest
from fleet.model import SEALED, Model
from fleet.plan import SSH_PORT
from fleet.workloads.container import PODMAN_NETWORKS, Container, NetworkUse, volume_source
from fleet.workloads.fields import Name, Port
from fleet.workloads.quadlet_units import RUNNING, QuadletUnit
from fleet.workloads.resources import (
    CONTAINER,
    KINDS,
    ON_DOCKER,
    Build,
    Engine,
    ImagePull,
    Kind,
    Network,
    Pod,
    User,
    Volume,
)
from fleet.workloads.system_units import is_system_service


class Workload(Model):
    """Containers and what they share, by name.

    Attributes:
        engine: "podman", or "docker", which Fedora CoreOS ships too. The other one is masked.
        containers: Each is a systemd service of its name.
        pods: Each is a service ``NAME-pod``.
        networks: Each is a service ``NAME-network``.
        volumes: Each is a service ``NAME-volume``; a volume that is not named here needs no options.
        images: Each is a service ``NAME-image``.
        builds: Each is a service ``NAME-build``.
        users: Users of the node whose rootless Podman runs containers.

    Examples:
        containers: {app: {image: docker.io/library/caddy:2}}
        pods: {app: {ports: ["8080:80"]}}
        networks: {backend: {internal: true}}
        volumes: {cache: {device: tmpfs, type: tmpfs}}
        images: {app: {image: registry.example.org/shop/app:1.4}}
        builds: {app: {context: app}}
        users: {app: {uid: 1001}}
    """

    engine: Annotated[Engine, SEALED] = "podman"
    containers: Annotated[dict[Name, Container], SEALED] = {}
    pods: Annotated[dict[Name, Pod], SEALED] = {}
    networks: Annotated[dict[Name, Network], SEALED] = {}
    volumes: Annotated[dict[Name, Volume], SEALED] = {}
    images: Annotated[dict[Name, ImagePull], SEALED] = {}
    builds: Annotated[dict[Name, Build], SEALED] = {}
    users: Annotated[dict[Name, User], SEALED] = {}

    _units: tuple[QuadletUnit, ...] = PrivateAttr(())

    @property
    def units(self) -> tuple[QuadletUnit, ...]:
        """Quadlet files of the user's own beside all this."""
        return self._units

    def with_units(self, units: Sequence[QuadletUnit]) -> Self:
        """The same with Quadlet files of the user's own, which are not checked together with it yet.

        Args:
            units: They.
        """
        changed = self.model_copy()
        changed._units = tuple(units)
        return changed

    @property
    def secrets(self) -> set[str]:
        """The secrets that it uses."""
        used = {use.name for container in self.containers.values() for use in container.secrets}
        return used | {name for unit in self.units for name in unit.secrets}

    @property
    def tags(self) -> dict[tuple[str, str], str]:
        """References whose image can be another one tomorrow.

        They are by kind and name of what has them, such as ``("containers", "caddy")``. Not among them: what has a
        digest, what registries are not asked for, and what is meant to move (``auto_update: registry``).
        """
        references = {
            ("containers", name): container.image
            for name, container in self.containers.items()
            if not container.local_image and container.pull != "never" and container.auto_update != "registry"
        }
        references |= {("images", name): image.image for name, image in self.images.items()}
        references |= {("quadlets", unit.name): unit.tag for unit in self.units if unit.tag}
        return {
            where: image
            for where, image in references.items()
            if "@" not in image and not image.startswith("localhost/")
        }

    def pinned(self, digests: Mapping[str, str]) -> Self:
        """The same with digests added to references.

        Args:
            digests: By reference, for all of :attr:`tags`.
        """
        kinds: dict[str, dict[str, Any]] = {"containers": dict(self.containers), "images": dict(self.images)}
        units = [unit.pinned(digests[unit.tag]) if unit.tag else unit for unit in self.units]
        for (kind, name), reference in self.tags.items():
            if kind == "quadlets":
                continue
            thing = kinds[kind][name]
            kinds[kind][name] = thing.model_copy(update={"image": f"{reference}@{digests[reference]}"})
        return self.model_copy(update=kinds).with_units(units)

    def services_on(self, mount: str) -> list[str]:
        """The system's services that start with the node and need what is mounted somewhere.

        They need it themselves, or one that they depend on does. Users' own services are none of them: the users'
        managers are, which start these.

        Args:
            mount: The mount point, an absolute path.
        """
        needing = {name for name, container in self.containers.items() if self.lies_on(container, [mount])}
        services = [
            CONTAINER.service(name)
            for name, container in self.containers.items()
            if not container.run_as and not container.schedule and needing & {name, *self._reached_from(name)}
        ]
        services += [
            unit.service
            for unit in self.units
            if unit.kind in RUNNING and unit.installed and not unit.run_as and self.unit_lies_on(unit, [mount])
        ]
        managers = [user_manager(self.users[name]) for name in self.users_on([mount])]
        return sorted(services) + managers

    def users_on(self, mounts: Iterable[str]) -> dict[str, list[str]]:
        """Those of some mount points that what a user runs has data on, by the user's name.

        Args:
            mounts: Mount points, absolute paths.
        """
        needed: dict[str, list[str]] = {}
        for _, container in sorted(self.containers.items()):
            if container.run_as:
                lies = self.lies_on(container, mounts)
                known = needed.setdefault(container.run_as, [])
                known += [mount for mount in lies if mount not in known]
        for unit in self.units:
            if unit.run_as:
                known = needed.setdefault(unit.run_as, [])
                known += [mount for mount in self.unit_lies_on(unit, mounts) if mount not in known]
        return {name: sorted(points) for name, points in sorted(needed.items()) if points}

    def lies_on(self, container: Container, mounts: Iterable[str]) -> list[str]:
        """Those of some mount points that a container of this workload has data on, in their order.

        Args:
            container: The container.
            mounts: Mount points, absolute paths.
        """
        paths = list(self._paths(container))
        return [mount for mount in mounts if any(below(path, mount) for path in paths)]

    def unit_lies_on(self, unit: QuadletUnit, mounts: Iterable[str]) -> list[str]:
        """Those of some mount points that a Quadlet file's service needs, in their order.

        Args:
            unit: The Quadlet file.
            mounts: Mount points, absolute paths.
        """
        paths = [f"/var/home/{unit.run_as}" if unit.run_as else self.storage, *unit.paths]
        return [mount for mount in mounts if any(below(path, mount) for path in paths)]

    @property
    def storage(self) -> str:
        """Where the system's engine keeps images and containers on a node."""
        return "/var/lib/docker" if self.engine == "docker" else "/var/lib/containers"

    def _paths(self, container: Container) -> Iterator[str]:
        """The node's paths that must be there before a container starts."""
        # A user's engine keeps images and containers in the user's home.
        yield f"/var/home/{container.run_as}" if container.run_as else self.storage
        for volume in container.volumes:
            source = volume_source(volume)
            yield self.volumes[source].device if source in self.volumes else source
        for key in ("Mount", "Volume"):
            for item in container.lines("Container", key):
                yield from re.findall(r"(?:^|,)(?:(?:source|src)=)?(/[^,:]*)", item)[:1]
        for item in container.lines("Unit", "RequiresMountsFor"):
            yield from item.split()

    @model_validator(mode="after")
    def _whole(self) -> Workload:
        """Names, services, ports, addresses and users' numbers differ; what is referred to is there."""
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        services: dict[str, str] = {}
        for kind, things in self.kinds():
            for name, thing in things.items():
                what, service = f"the {kind.name} {name}", kind.service(name)
                if other := services.get(service):
                    yield f"{what} and {other} would both be the service {service}: rename one"
                services[service] = what
                if is_system_service(service.removesuffix(".service")):
                    yield (
                        f"{what} would replace {service}, which Fedora CoreOS has itself: call it another "
                        f"name, such as my-{name}"
                    )
                if thing.run_as and thing.run_as not in self.users:
                    yield f"{what} runs as {thing.run_as}, who is not among `users`: {_list(self.users)}"
        for name in self.pods.keys() & self.containers.keys():
            yield f"a pod and a container are both called {name}: Podman keeps them in one list, rename one"
        for name, pod in self.pods.items():
            yield from self._network_problems(f"the pod {name}", pod.networks, pod.run_as)
        for name, container in self.containers.items():
            yield from self._container_problems(name, container)
        runners = {thing.run_as for _, things in self.kinds() for thing in things.values()}
        for name, container in self.containers.items():
            user_name = container.user.partition(":")[0]
            if user_name in self.users and user_name not in runners:
                yield (
                    f"the container {name} has `user: {container.user}`, a user in the container, but nothing runs as "
                    f"{user_name} of `users`: to have that user's rootless Podman run it, say `run_as: {user_name}`"
                )
        uids: dict[int, str] = {}
        for name, user in self.users.items():
            if other := uids.get(user.uid):
                yield f"the users {other} and {name} both have the number {user.uid}"
            uids[user.uid] = name
        yield from self._port_problems()
        yield from self._address_problems()
        if self.engine == "docker":
            for kind, things in self.kinds():
                if things and kind not in ON_DOCKER:
                    yield f"the engine docker has no {kind.plural} here: leave them out, or take podman"

    def unit_problems(self) -> Iterator[tuple[QuadletUnit, str, str]]:
        """What keeps Quadlet files from standing beside the rest and one another: which, what, how to mend it."""
        services = {kind.service(name): f"the {kind.name} {name}" for kind, things in self.kinds() for name in things}
        files = {
            (thing.run_as, kind.file(name)): f"the {kind.name} {name}"
            for kind, things in self.kinds()
            for name, thing in things.items()
        }
        lists = {"containers": "containers", "pods": "containers", "networks": "networks", "volumes": "volumes"}
        called = {
            (thing.run_as, lists[kind.plural], name): f"the {kind.name} {name}"
            for kind, things in self.kinds()
            for name, thing in things.items()
            if kind.plural in lists
        }
        taken = [(what, port) for what, thing in self._networked() for port in thing.ports]
        known = {*files, *((unit.run_as, unit.name) for unit in self.units)}
        for unit in self.units:
            if self.engine == "docker":
                yield unit, f"{unit.name} is Podman's, but the group's engine is docker", "Take podman."
            if unit.run_as and unit.run_as not in self.users:
                yield unit, f"{unit.name} runs as {unit.run_as}, who is not among `users`: {_list(self.users)}", ""
            key = unit.run_as, unit.name
            if other := files.get(key) or services.get(unit.service):
                yield unit, f"{unit.name} and {other} would both be the service {unit.service}", "Rename one."
            files[key] = services[unit.service] = unit.name
            if is_system_service(unit.service.removesuffix(".service")):
                yield unit, f"{unit.name} would replace {unit.service}, which Fedora CoreOS has itself", "Rename it."
            name, kind_list = unit.resource
            if name and "%" not in name:
                if other := called.get((unit.run_as, kind_list, name)):
                    yield (
                        unit,
                        f"{unit.name} and {other} are both called {name}, in one list of Podman's",
                        "Rename one.",
                    )
                called[unit.run_as, kind_list, name] = unit.name
            for port in unit.ports:
                if (port.node, port.protocol) == (SSH_PORT, "tcp") and port.public:
                    yield unit, f"{unit.name} publishes port {SSH_PORT} of the node, which is SSH's", "Publish another."
                if other := next((what for what, earlier in taken if port.meets(earlier)), ""):
                    both = f"{other} and {unit.name} both publish port {port.node}/{port.protocol} of the node"
                    yield unit, both, "Choose another for one."
                taken.append((unit.name, port))
            for reference, entry in unit.references:
                if (unit.run_as, reference) not in known:
                    near = nearest(reference, {name for user, name in known if user == unit.run_as})
                    yield (
                        unit,
                        f"{entry.at}: `{entry.key}={entry.value}` names {reference}, which the group has not",
                        near or "Add it to `quadlets`, or to the group: Podman drops the whole unit without.",
                    )

    def kinds(self) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
        """What it has, by name, for each kind."""
        for kind in KINDS:
            yield kind, getattr(self, kind.plural)

    def _container_problems(self, name: str, container: Container) -> Iterator[str]:
        what, user = f"the container {name}", container.run_as
        for other in container.depends_on:
            if other not in self.containers:
                yield f"{what} depends on {other}, which is not a container of the same group: {_list(self.containers)}"
            elif self.containers[other].run_as != user:
                yield f"{what} depends on {other}, which another user runs: services of two users cannot wait so"
            elif self.containers[other].schedule:
                yield f"{what} depends on {other}, which runs by a timer"
        if name in self._reached_from(name):
            yield f"{what} depends on itself, by {_list(sorted(self._reached_from(name)))}"
        if container.pod:
            if container.pod not in self.pods:
                yield f"{what} is in the pod {container.pod}, which is not among `pods`: {_list(self.pods)}"
            elif self.pods[container.pod].run_as != user:
                yield f"{what} is in the pod {container.pod}, which another user runs: give both the same `run_as`"
        yield from self._network_problems(what, container.networks, user)
        for volume in container.volumes:
            source = volume_source(volume)
            if source in self.volumes and self.volumes[source].run_as != user:
                yield f"{what} mounts the volume {source}, which another user has: give both the same `run_as`"
        if local := container.local_image:
            image, kind = local
            known: Mapping[str, ImagePull | Build] = self.images if kind == "image" else self.builds
            if image not in known:
                yield f"{what} runs {container.image}, but `{kind}s` has no {image}: {_list(known)}"
            elif known[image].run_as != user:
                yield f"{what} runs {container.image}, which another user has: give both the same `run_as`"

    def _networked(self) -> Iterator[tuple[str, Container | Pod]]:
        """What can have ports and networks, and what errors call it."""
        for name, container in self.containers.items():
            yield f"the container {name}", container
        for name, pod in self.pods.items():
            yield f"the pod {name}", pod

    def _port_problems(self) -> Iterator[str]:
        taken: list[tuple[str, Port]] = []
        for what, thing in self._networked():
            for port in thing.ports:
                if (port.node, port.protocol) == (SSH_PORT, "tcp") and port.public:
                    yield f"{what} publishes port {SSH_PORT} of the node, which is SSH's: publish another"
                for other, earlier in taken:
                    if port.meets(earlier):
                        both = f"{what} publishes" if other == what else f"{other} and {what} both publish"
                        twice = " twice" if other == what else ""
                        yield f"{both} port {port.node}/{port.protocol} of the node{twice}: choose another for one"
                taken.append((what, port))

    def _address_problems(self) -> Iterator[str]:
        taken: dict[tuple[str, object], str] = {}
        for what, thing in self._networked():
            for use in thing.networks:
                for address in filter(None, (use.ip, use.ip6)):
                    if other := taken.get((use.name, address)):
                        yield f"{other} and {what} both have the address {address} in the network {use.name}"
                    taken[use.name, address] = what

    def _network_problems(self, what: str, uses: list[NetworkUse], user: str | None) -> Iterator[str]:
        for use in uses:
            network = self.networks.get(use.name)
            if network is None:
                if use.name not in PODMAN_NETWORKS:
                    yield f"{what} is in the network {use.name}, which is not among `networks`: {_list(self.networks)}"
            elif network.run_as != user:
                yield f"{what} is in the network {use.name}, which another user has: give both the same `run_as`"
            else:
                for address in filter(None, (use.ip, use.ip6)):
                    if not any(address in subnet.prefix for subnet in network.subnets):
                        yield f"{what} has the address {address}, which is in no subnet of the network {use.name}"

    def _reached_from(self, name: str) -> set[str]:
        reached: set[str] = set()
        pending = list(self.containers[name].depends_on)
        while pending:
            other = pending.pop()
            if other not in reached and other in self.containers:
                reached.add(other)
                pending += self.containers[other].depends_on
        return reached


def user_manager(user: User) -> str:
    """The system's service that runs a user's services: user@UID.service (systemd-user-sessions(5))."""
    return f"user@{user.uid}.service"


def below(path: str, mount: str) -> bool:
    """Whether a path lies on what is mounted at a mount point."""
    return f"{path.rstrip('/')}/".startswith(f"{mount}/")


def _list(names: Any) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"
