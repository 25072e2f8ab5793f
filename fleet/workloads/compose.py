"""Compose files (compose-spec) as workloads.

compose-go reads them, in the transpiler: the whole specification, without the environment of the command and without
files outside of the project. What the node can honour is mapped here; for anything else there is an error that names
its place, since a key that is silently ignored is a container that runs in another way than its author believes. Two
kinds of keys say nothing about a container on a node and are taken as they are: those of Compose's own commands
(``attach``, ``develop``, ``version``) and what only documents (``expose``, a port's ``name``).

Differences that remain are those between a node and the machine where Compose runs: what Compose finds beside the file
is put on the node when it is provisioned, and what lies in the folders of the node is the node's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleet.config.template import as_text
from fleet.document import described, several
from fleet.model import Model
from fleet.workloads.compose_model import (
    BESIDE_FILE,
    BuildUse,
    Check,
    ComposeFile,
    Dependency,
    DeviceRequest,
    DeviceUse,
    Grant,
    Mount,
    NetworkUse,
    PortUse,
    Service,
    VolumeUse,
)
from fleet.workloads.compose_project import Project, Surroundings
from fleet.workloads.container import Container, HealthCheck
from fleet.workloads.fields import NAME_PATTERN
from fleet.workloads.rendering import Key, Special, keys
from fleet.workloads.resources import Build, Network, Volume

DEFAULT_NETWORK = "compose-default"
"""The network of services that name none: Compose gives them one in which they find each other by name."""

_PODMAN_OPTIONS = frozenset(
    "rw ro z Z U O exec noexec suid nosuid dev nodev shared rshared slave rslave private rprivate unbindable "
    "runbindable bind rbind copy nocopy idmap".split()
)
_DESKTOP_OPTIONS = frozenset(("cached", "delegated", "consistent"))
"""They say how Docker Desktop copies between a Mac and its virtual machine; Linux knows nothing of them."""

_DOCKER_PATHS = ("/var/run/docker.sock", "/run/docker.sock", "/var/lib/docker")
_NETWORK_OPTIONS = {"com.docker.network.driver.mtu": "mtu", "com.docker.network.bridge.name": ""}
_ROTATION = frozenset(("max-size", "max-file", "compress", "mode", "max-buffer-size", "tag", "labels"))


def read_compose(path: Path, around: Surroundings) -> dict[str, Any]:
    """Read a Compose file as the value of a :class:`~fleet.workloads.Workload`.

    Args:
        path: The file.
        around: What it is read in.

    Raises:
        FleetError: It is no Compose file, or has keys or values that cannot be mapped; names the place of each.
    """
    project = Project(path, around)
    return _Translation(project.understood(), project, around).workload()


class _Translation:
    """One Compose file on its way to a workload."""

    def __init__(self, file: ComposeFile, project: Project, around: Surroundings) -> None:
        self.file, self.project, self.around = file, project, around
        self.problems = list(project.problems)
        self.containers: dict[str, dict[str, Any]] = {}
        self.filled: dict[str, str] = {}  # by volume: the folder of the node that it is

    def workload(self) -> dict[str, Any]:
        services = self.file.services
        builds = {name: self._build(name, service.build) for name, service in services.items() if service.build}
        networks = self._network_definitions()
        volumes = self._volume_definitions()
        for name, service in services.items():
            self.containers[name] = self._container(name, service)
        for name, service in services.items():
            self._together(name, service)
        for kind, model, things in (
            ("services", Container, self.containers), ("networks", Network, networks), ("volumes", Volume, volumes),
            ("services", Build, builds),
        ):  # fmt: skip
            for name, thing in things.items():
                if thing or model is not Build:
                    self._check(kind, model, name, thing)
        if self.problems:
            raise several(self.problems)
        workload: dict[str, Any] = {"containers": self.containers, "networks": networks, "volumes": volumes}
        if builds:
            workload["builds"] = builds
        if any(use["name"] == DEFAULT_NETWORK for each in self.containers.values() for use in each["networks"]):
            networks.setdefault(DEFAULT_NETWORK, {})
        return workload

    def _refuse(self, what: str, *where: str | int, fix: str = "") -> None:
        self.problems.append((self.project.at(*where), f"{what} {fix}".rstrip()))

    def _check(self, kind: str, model: type[Model], name: str, value: dict[str, Any]) -> None:
        """Check what was made of a part of the file, so that errors name the file's place."""
        if not re.fullmatch(NAME_PATTERN, name):
            self._refuse(f"{name} is a name that nothing on a node can have.", kind, name,
                         fix="Use lower-case letters, digits, dashes and underscores; 63 at most.")  # fmt: skip
        try:
            model.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                field, *rest = detail["loc"] or ("",)
                key = _compose_key(model, str(field))
                text = described(model, detail, detail["loc"] or (name,))
                self.problems.append((self.project.at(kind, name, key, *rest), text))

    def _local(self, path: str) -> str:
        """A path beside a Compose file, from the folder that the workload's paths start in."""
        return os.path.relpath(path.removeprefix(BESIDE_FILE), os.path.realpath(self.around.base))

    def _file(self, path: str) -> dict[str, Any]:
        """Where a file or folder comes from, as the workload says it."""
        return {"source": self._local(path), **({} if self.around.boundary else {"outside": True})}

    # What services share.

    def _network_definitions(self) -> dict[str, Any]:
        networks = {}
        for key, network in self.file.networks.items():
            if network.external:
                self._external("networks", key, network.name, self.around.networks)
                continue
            options = {}
            for option, value in network.driver_opts.items():
                if option in _NETWORK_OPTIONS and not _NETWORK_OPTIONS[option]:
                    self._refuse(
                        f"`{option}` is Docker's.", "networks", key, "driver_opts", option, fix="Podman names bridges."
                    )
                elif "." in option and option not in _NETWORK_OPTIONS:
                    self._refuse(f"`{option}` is Docker's; Podman has no such option.",
                                 "networks", key, "driver_opts", option)  # fmt: skip
                options[_NETWORK_OPTIONS.get(option, option)] = value
            networks[self._network_name(key)] = {
                "subnets": [
                    {"prefix": each.subnet, "gateway": each.gateway, "range": each.ip_range}
                    for each in network.ipam.config
                ],
                **_copied(Network, network),
                "options": options,
            }
        return networks

    def _network_name(self, key: str) -> str:
        network = self.file.networks.get(key, NetworkUse())
        return network.name or (DEFAULT_NETWORK if key == "default" else key)

    def _volume_definitions(self) -> dict[str, Any]:
        volumes = {}
        for key, volume in self.file.volumes.items():
            if volume.external:
                self._external("volumes", key, volume.name, self.around.volumes)
                continue
            if self.around.engine == "docker" and volume == VolumeUse(name=volume.name):
                continue  # Docker makes it when it is first used.
            device = volume.driver_opts.device
            if device.startswith(BESIDE_FILE):
                device = self._node_path(device, "volumes", key, "driver_opts", "device") or ""
                self.filled[key] = device
            volumes[volume.name or key] = {
                **_copied(Volume, volume),
                "type": volume.driver_opts.type,
                "device": device,
                "options": volume.driver_opts.o,
            }
        return volumes

    def _external(self, kind: str, key: str, name: str, known: Collection[str]) -> None:
        name = name or key
        if name not in known:
            self._refuse(
                f"{name} is external, but the group has no such one, and a new node has only what its group has.",
                kind, key, fix=f"Add it to the group in the spec: `{kind}: {{{name}: {{}}}}`.",
            )  # fmt: skip

    def _build(self, name: str, build: BuildUse) -> dict[str, Any]:
        where = ("services", name, "build")
        if not build.context.startswith(BESIDE_FILE) and not build.context.startswith("/"):
            self._refuse("An image is built from a folder of the project.", *where, "context")
            return {}
        args = {}
        for key, value in build.args.items():
            if value is None and key not in self.around.variables:
                self._refuse(f"`{key}` has no value, and is no variable of the spec.", *where, "args", key)
            args[key] = as_text(self.around.variables.get(key, "")) if value is None else value
        image = self.file.services[name].image
        source = self._file(build.context)
        return {
            "context": source["source"],
            **({"outside": True} if "outside" in source else {}),
            "file": build.dockerfile or "Dockerfile",
            "tag": _qualified(image) if image else "",
            **_copied(Build, build),
            "args": args,
        }

    # A service.

    def _container(self, name: str, service: Service) -> dict[str, Any]:
        def where(*parts: str | int) -> tuple[str | int, ...]:
            return ("services", name, *parts)

        limits, policy = service.deploy.resources.limits, service.deploy.restart_policy
        cpus = service.cpus if service.cpus is not None else limits.cpus
        if not service.image and not service.build:
            self._refuse(f"{name} has neither `image` nor `build`.", *where())
        for key in ("command", "entrypoint"):
            if getattr(service, key) == []:
                self._refuse("It is empty, which would clear the image's own.", *where(key), fix="Name a command.")
        restart = service.restart
        container: dict[str, Any] = {
            **_copied(Container, service),
            "image": f"{name}.build" if service.build else _qualified(service.image),
            "command": service.command or [],
            "entrypoint": service.entrypoint or [],
            "environment": self._environment(name, service),
            "networks": self._networks(name, service),
            "ports": list(filter(None, (self._port(name, *each) for each in enumerate(service.ports)))),
            "secrets": [self._secret(name, index, grant) for index, grant in enumerate(service.secrets)],
            "devices": [each.written or _device(each) for each in service.devices],
            "no_new_privileges": False,
            "ulimits": [_ulimit(key, value) for key, value in service.ulimits.items()],
            "depends_on": [],
            "pull": {"if_not_present": "missing", "build": "missing"}.get(service.pull_policy, service.pull_policy),
            "memory": self._size(service.mem_limit or limits.memory, *where("mem_limit")),
            "shm_size": self._size(service.shm_size, *where("shm_size")),
            "cpus": None if cpus is None else float(cpus),
            "pids": service.pids_limit or limits.pids,
            "stop_timeout": self._seconds(service.stop_grace_period, *where("stop_grace_period")),
            "health": self._health(name, service.healthcheck),
            "tmpfs": list(service.tmpfs),
            "volumes": [],
            "files": list(filter(None, (self._config(name, *each) for each in enumerate(service.configs)))),
            "arguments": self._arguments(name, service),
            "quadlet": {},
        }
        if container["pids"] is not None and container["pids"] < 1:
            container["arguments"].append("--pids-limit=-1")
            container["pids"] = None
        if policy:
            restart = {"none": "no", "any": "always", "on-failure": "on-failure"}[policy.condition]
            if policy.max_attempts:
                restart = f"on-failure:{policy.max_attempts}"
                if policy.condition == "any":
                    self._refuse("systemd counts the restarts of what fails.", *where("deploy", "restart_policy"),
                                 fix="Say `condition: on-failure`, or leave `max_attempts` out.")  # fmt: skip
            if policy.delay:
                seconds = self._seconds(policy.delay, *where("deploy", "restart_policy", "delay"))
                _extra(container, "Service", "RestartSec", str(seconds))
        container["restart"], _, attempts = restart.partition(":")
        if attempts:
            # Docker gives up after so many restarts; systemd after so many starts in an interval.
            _extra(container, "Unit", "StartLimitIntervalSec", "infinity")
            _extra(container, "Unit", "StartLimitBurst", str(int(attempts) + 1))
        for index, option in enumerate(service.security_opt):
            self._security(container, option, *where("security_opt", index))
        for index, volume in enumerate(service.volumes):
            self._volume(container, name, index, volume)
        for index, request in enumerate([*service.gpus, *service.deploy.resources.reservations.devices]):
            self._gpu(container, request, *where("gpus" if index < len(service.gpus) else "deploy"))
        if service.network_mode == "host" and container["ports"]:
            self._refuse("A service in the network of the node publishes no ports.", *where("ports"))
        if service.network_mode.startswith("service:") and container["ports"]:
            self._refuse("The service whose network it is in publishes the ports.", *where("ports"))
        return container

    def _environment(self, name: str, service: Service) -> dict[str, str]:
        variables = {}
        for key, value in service.environment.items():
            if value is None:
                self._refuse(
                    f"`{key}` takes its value from the environment of whoever starts it, which a node has not.",
                    "services", name, "environment", key,
                    fix=f'Write its value (`{key}: ""` for an empty text), or define a variable {key} in the spec.',
                )  # fmt: skip
            else:
                variables[key] = value
        return variables

    def _networks(self, name: str, service: Service) -> list[dict[str, Any]]:
        where = ("services", name)
        if service.network_mode and service.networks:
            self._refuse("`network_mode` and `networks` exclude each other.", *where, "network_mode")
        if service.network_mode:
            if service.network_mode in ("host", "none", "bridge"):
                return [{"name": service.network_mode}]
            if not service.network_mode.startswith("service:"):
                self._refuse(f"{service.network_mode} is no network that a node has.", *where, "network_mode",
                             fix="There are host, none, bridge and service:NAME.")  # fmt: skip
            return []
        uses: list[dict[str, Any]] = []
        for key, attachment in service.networks.items():
            if key not in self.file.networks and key != "default":
                self._refuse(f"The network {key} is not among the file's `networks`.", *where, "networks", key,
                             fix="Name it there.")  # fmt: skip
            uses.append(
                {
                    "name": self._network_name(key),
                    "ip": attachment.ipv4_address,
                    "ip6": attachment.ipv6_address,
                    "aliases": list(attachment.aliases),
                }
            )
        if not uses:
            uses = [{"name": self._network_name("default")}]
        if service.container_name not in ("", name):
            # Others in its networks know it by this name, too.
            for use in uses:
                use["aliases"] = [*use.get("aliases", []), service.container_name]
        return uses

    def _port(self, name: str, index: int, port: PortUse) -> Any:
        if not re.fullmatch("[0-9]*", port.published):
            self._refuse(
                f"{port.published} is no port.", "services", name, "ports", index, "published",
                fix="A range is written in one text: `8000-8010:8000-8010`.",
            )  # fmt: skip
            return {}
        address = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
        node = int(port.published or port.target)
        return {"node": node, "container": port.target, "protocol": port.protocol, "address": address}

    # What is mounted.

    def _volume(self, container: dict[str, Any], name: str, index: int, mount: Mount) -> None:
        where = ("services", name, "volumes", index)
        options = self._options(mount, *where)
        if mount.type == "tmpfs":
            size = [f"size={mount.tmpfs.size}"] if mount.tmpfs.size else []
            size += [f"mode={mount.tmpfs.mode}"] if mount.tmpfs.mode else []
            container["tmpfs"].append(":".join([mount.target, *([",".join(size)] if size else [])]))
            return
        if mount.type == "volume":
            if not mount.source:
                self._refuse(f"{mount.target} names no source: name a volume.", *where)
            elif mount.source not in self.file.volumes:
                self._refuse(
                    f"The volume {mount.source} is not among the file's `volumes`.", *where, fix="Name it there."
                )
            else:
                volume = self.file.volumes[mount.source]
                if device := self.filled.get(mount.source):
                    options = _filled_on_node(container, device, options)
                container["volumes"].append(_mounted(volume.name or mount.source, mount.target, options))
            return
        source = mount.source
        if source.startswith(BESIDE_FILE):
            local = Path(source.removeprefix(BESIDE_FILE))
            read_only = "ro" in options
            if local.is_file() or (local.is_dir() and read_only):
                container["files"].append(
                    {**self._file(source), "target": mount.target.rstrip("/"), "read_only": read_only}
                )
                return
            source = self._node_path(source, *where) or ""
            if not source:
                return
            options = _filled_on_node(container, source, options)
        elif self.around.engine == "podman" and any(f"{source}/".startswith(f"{path}/") for path in _DOCKER_PATHS):
            self._refuse(
                f"{source} is Docker's, and the group's containers are run by Podman.", *where,
                fix="Take `engine: docker`; or write Podman's own, such as /run/podman/podman.sock, and enable "
                "podman.socket in a snippet.",
            )  # fmt: skip
            return
        elif source.rstrip("/") == "/etc/timezone":
            self._refuse("Fedora CoreOS has no /etc/timezone.", *where, fix="Say `TZ` under `environment`.")
            return
        elif not source.startswith("/"):
            self._refuse(f"{source} is no path of a node.", *where)
            return
        container["volumes"].append(_mounted(source, mount.target, options))

    def _options(self, mount: Mount, *where: str | int) -> list[str]:
        if mount.written:
            written = mount.written.split(":")[2:]
            options = [option for each in written for option in each.split(",") if option not in _DESKTOP_OPTIONS]
            for option in options:
                if option not in _PODMAN_OPTIONS:
                    self._refuse(f"`{option}` is no option of a volume.", *where)
            return options
        options = ["ro"] if mount.read_only else []
        options += [option for option in (mount.bind.propagation, mount.bind.selinux) if option]
        return options + (["nocopy"] if mount.volume.nocopy else [])

    def _node_path(self, source: str, *where: str | int) -> str | None:
        """Where on the node a folder lies that is named relative to the Compose file."""
        folder = Path(source.removeprefix(BESIDE_FILE))
        relative = os.path.relpath(folder, self.project.path.parent)
        if "~" in relative.split("/"):
            self._refuse(f"{relative} is in the home of whoever runs Compose.", *where, fix="Name a path of the node.")
        elif not self.around.folder:
            self._refuse(
                f"./{relative} is a path beside the Compose file, of which a node has nothing.", *where,
                fix="For a folder that the service fills, say where such folders lie on the node, on a data disk say: "
                "`compose: {path: ..., folder: /var/lib/data}`; or name a volume. For files that are here, say `:ro`, "
                "or name them under `files` of the container.",
            )  # fmt: skip
        elif relative.startswith(".."):
            self._refuse(f"{relative} is not in the Compose file's folder.", *where, fix="Name a path of the node.")
        elif not re.fullmatch(r"[A-Za-z0-9/_.@-]+", relative):
            self._refuse(f"{relative} has other signs than letters, digits and _.@-.", *where)
        else:
            return os.path.normpath(f"{self.around.folder}/{relative}")
        return None

    def _secret(self, name: str, index: int, grant: Grant) -> dict[str, Any]:
        where = ("services", name, "secrets", index)
        secret = self.file.secrets.get(grant.source)
        real = (secret.name if secret else "") or grant.source
        if secret is None:
            self._refuse(
                f"The secret {grant.source} is not among the file's `secrets`.", *where,
                fix="Write `secrets: {NAME: {external: true}}`, and define it in the spec.",
            )  # fmt: skip
        elif real not in self.around.secrets:
            what = "env: " + secret.environment if secret.environment else "file: PATH"
            if secret.file:
                what = "file: " + self._local(secret.file)
            self._refuse(
                f"The secret {real} is not among those of the spec, which keeps it secret.", "secrets", grant.source,
                fix=f"Define it there: `secrets: {{{real}: {{{what}}}}}`.",
            )  # fmt: skip
        target = grant.target or (grant.source if real != grant.source else "")
        use: dict[str, Any] = {"name": real, "target": target, "uid": grant.uid, "gid": grant.gid}
        if grant.mode:
            use["mode"] = _mode(grant.mode)
        elif grant.uid == "0" and self.file.services[name].user.partition(":")[0] not in ("", "0", "root"):
            # All can read it, by the specification. Only what does not run as root needs that.
            use["mode"] = "0444"
        return use

    def _config(self, name: str, index: int, grant: Grant) -> dict[str, Any]:
        config = self.file.configs.get(grant.source)
        if config is None:
            self._refuse(
                f"The config {grant.source} is not among the file's `configs`.", "services", name, "configs", index
            )
            return {}
        for key in ("uid", "gid"):
            if getattr(grant, key) != "0":
                self._refuse("A config belongs to root.", "services", name, "configs", index, key,
                             fix="Leave it out; all can read it.")  # fmt: skip
        file: dict[str, Any] = {"target": grant.target or f"/{grant.source}", "mode": _mode(grant.mode or "0444")}
        return {**file, "text": config.content} if config.content is not None else {**file, **self._file(config.file)}

    # The rest.

    def _arguments(self, name: str, service: Service) -> list[str]:
        """What only an option of podman-run(1) says."""
        reservation = service.mem_reservation or service.deploy.resources.reservations.memory
        logging = service.logging
        for option in logging.options:
            if option not in _ROTATION:
                self._refuse(f"Logs go to the node's journal, which has no `{option}`.",
                             "services", name, "logging", "options", option)  # fmt: skip
        for key, allowed in (
            ("ipc", ("", "host", "private", "shareable", "none")),
            ("pid", ("", "host", "private")),
            ("uts", ("", "host", "private")),
            ("userns_mode", ("", "host", "private")),
            ("cgroup", ("", "host", "private")),
        ):
            if (value := getattr(service, key)) not in allowed:
                self._refuse(f"{value} is none that a container on a node can have.", "services", name, key)
        check = service.healthcheck
        size = self._size
        options: list[tuple[str, object]] = [
            ("ipc", service.ipc),
            ("pid", service.pid),
            ("uts", service.uts),
            ("userns", service.userns_mode),
            ("cgroupns", service.cgroup),
            ("cgroup-parent", service.cgroup_parent),
            ("platform", service.platform),
            ("cpu-shares", service.cpu_shares),
            ("cpu-quota", service.cpu_quota),
            ("cpu-period", service.cpu_period),
            ("cpuset-cpus", service.cpuset),
            ("memory-reservation", size(reservation, "services", name, "mem_reservation")),
            ("memory-swap", size(service.memswap_limit, "services", name, "memswap_limit")),
            ("memory-swappiness", service.mem_swappiness),
            ("oom-score-adj", service.oom_score_adj),
            *(("dns-search", each) for each in service.dns_search),
            *(("dns-option", each) for each in service.dns_opt),
            *(("device-cgroup-rule", each) for each in service.device_cgroup_rules),
            *(("annotation", f"{key}={value}") for key, value in sorted(service.annotations.items())),
            ("log-driver", "none" if logging.driver == "none" else ""),
        ]
        arguments = [f"--{option}={value}" for option, value in options if value not in ("", None)]
        if service.network_mode.startswith("service:"):
            arguments.append(f"--network=container:{service.network_mode.removeprefix('service:')}")
        for option, flag in (
            ("privileged", service.privileged),
            ("tty", service.tty),
            ("interactive", service.stdin_open),
            ("oom-kill-disable", service.oom_kill_disable),
            ("no-healthcheck", check is not None and (check.disable or check.test == ["NONE"])),
        ):
            if flag:
                arguments.append(f"--{option}")
        return arguments

    def _security(self, container: dict[str, Any], option: str, *where: str | int) -> None:
        plain = re.sub("^([a-z-]+):", r"\1=", option)
        if plain in ("no-new-privileges", "no-new-privileges=true"):
            container["no_new_privileges"] = True
        elif plain in ("label=disable", "seccomp=unconfined") or plain.startswith(("label=type=", "label=level=")):
            container["arguments"].append(
                f"--security-opt={plain.replace('type=', 'type:').replace('level=', 'level:')}"
            )
        elif plain.startswith(("label=type:", "label=level:")):
            container["arguments"].append(f"--security-opt={plain}")
        elif plain == "systempaths=unconfined":
            container["arguments"].append(
                "--security-opt=unmask=ALL" if self.around.engine == "podman" else f"--security-opt={plain}"
            )
        # Fedora CoreOS has SELinux and no AppArmor: what that would not confine is not confined by it.
        elif plain not in ("no-new-privileges=false", "apparmor=unconfined"):
            self._refuse(f"{option} is none that a node can honour.", *where)

    def _gpu(self, container: dict[str, Any], request: DeviceRequest, *where: str | int) -> None:
        if request.driver not in ("", "nvidia") or not {"gpu", *request.capabilities} <= {
            "gpu", "compute", "utility", "video", "graphics", "display",
        }:  # fmt: skip
            self._refuse("Devices that are reserved are GPUs of nvidia.", *where, fix="Name others under `devices`.")
            return
        if self.around.engine == "docker":
            devices = f'"device={",".join(request.device_ids)}"' if request.device_ids else str(request.count or "all")
            container["arguments"].append("--gpus=" + devices.replace("-1", "all"))
            return
        count = str(request.count if request.count is not None else "all").replace("-1", "all")
        chosen = request.device_ids or (["all"] if count == "all" else [str(each) for each in range(int(count))])
        container["devices"] += [f"nvidia.com/gpu={each}" for each in chosen]

    def _health(self, name: str, check: Check | None) -> dict[str, Any] | None:
        where = ("services", name, "healthcheck")
        if check is None or check.disable or check.test == ["NONE"]:
            return None
        test = check.test
        if not test:
            self._refuse("The health check has no `test`, and the image's own is not known here.", *where,
                         fix="Write it.")  # fmt: skip
            return None
        if isinstance(test, list):
            kind, *words = test
            if kind not in ("CMD", "CMD-SHELL"):
                self._refuse("A list begins with CMD, CMD-SHELL or NONE.", *where, "test")
            test = words if kind == "CMD" else " ".join(words)
        waited_for = any(
            other.depends_on.get(name, Dependency()).condition == "service_healthy"
            for other in self.file.services.values()
        )
        return {
            **_copied(HealthCheck, check),
            "command": test,
            "retries": check.retries or 3,  # Docker takes 0 for its default
            # Compose only looks; it never ends a container that is not healthy.
            "on_failure": "none",
            "notify": waited_for,
        }

    def _together(self, name: str, service: Service) -> None:
        """What a service has to do with others."""
        own = self.containers[name]
        where = ("services", name)
        depends = dict(service.depends_on)
        for index, link in enumerate(service.links):
            other, _, alias = link.partition(":")
            if alias not in ("", other):
                self._refuse(f"{other} has one set of names for all.", *where, "links", index,
                             fix=f"Give it `networks: {{NETWORK: {{aliases: [{alias}]}}}}`.")  # fmt: skip
            depends.setdefault(other, Dependency())
        host = service.network_mode.removeprefix("service:")
        if host != service.network_mode:
            depends.setdefault(host, Dependency())
        for other, dependency in depends.items():
            part = (*where, "depends_on", other)
            if other not in self.file.services:
                if dependency.required:
                    what, fix = "is not a container of the same group.", ""
                    if other in self.project.left_out:
                        what = "has a profile that is not wanted."
                        fix = "Name its profile in the spec: `compose: {path: ..., profiles: [...]}`."
                    self._refuse(f"{name} depends on {other}, which {what}", *part, fix=fix)
                continue
            target, check = self.containers[other], self.file.services[other].healthcheck
            if dependency.condition == "service_healthy" and not target["health"]:
                self._refuse(
                    f"{name} waits until {other} is healthy, which has no health check"
                    + (" that can be waited for." if check else " in this file; one of its image is not known here."),
                    *part, "condition", fix=f"Give {other} a `healthcheck`, or wait for `service_started`.",
                )  # fmt: skip
            if dependency.condition == "service_completed_successfully":
                if target["restart"] in ("always", "unless-stopped"):
                    self._refuse(f"{name} waits until {other} ends, which is always restarted.", *part, "condition",
                                 fix=f"Say `restart: on-failure` or `no` in {other}.")  # fmt: skip
                target["oneshot"] = True
            if dependency.required:
                own["depends_on"].append(other)
            else:
                _extra(own, "Unit", "Wants", f"{other}.service")
                _extra(own, "Unit", "After", f"{other}.service")
        if host != service.network_mode and host in self.containers:
            # A container that is made anew has another network: what is in it goes and comes with it.
            _extra(own, "Unit", "BindsTo", f"{host}.service")
            _extra(self.containers[host], "Unit", "Upholds", f"{name}.service")

    def _size(self, value: str | int, *where: str | int) -> str:
        """A size as Podman has it; Compose knows 64M, 1.5gb and 2GiB too."""
        text = str(value).lower().replace(" ", "")
        if text in ("", "-1") or re.fullmatch("[0-9]+[bkmg]?", text):
            return text
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([bkmgtp]?)i?b?", text)
        if match is None:
            self._refuse(f"{value} is no size, such as 512m or 2g.", *where)
            return ""
        if "." not in match[1] and match[2] in "bkmg":
            return match[1] + match[2]
        return str(int(float(match[1]) * 1024 ** "bkmgtp".index(match[2] or "b")))

    def _seconds(self, text: str, *where: str | int) -> int:
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
        if not match or not text:
            self._refuse(f"{text!r} is no duration such as 1m30s.", *where)
            return 0
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds


def _copied(model: type[Model], part: Model) -> dict[str, Any]:
    """The fields of something that are keys of a part of the file, by the table of the thing's model."""
    return {
        field: getattr(part, rendering.compose.word)
        for field, rendering in keys(model)
        if isinstance(rendering.compose, Key)
    }


def _compose_key(model: type[Model], field: str) -> str:
    """What a field is made of, for the place of an error about it."""
    match dict(keys(model))[field].compose if field in model.model_fields else None:
        case Key(key):
            return key
        case Special(words):
            return words.split()[0]
    return field


def _extra(container: dict[str, Any], section: str, key: str, line: str) -> None:
    """Add a line to a container's unit."""
    container["quadlet"].setdefault(section, {}).setdefault(key, []).append(line)


def _qualified(image: str) -> str:
    """A reference as Docker completes it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _device(device: DeviceUse) -> str:
    parts = [device.source, device.target or device.source, device.permissions]
    return ":".join(parts if device.permissions else parts[:2])


def _mounted(source: str, target: str, options: list[str]) -> str:
    return ":".join([source, target, *([",".join(options)] if options else [])])


def _filled_on_node(container: dict[str, Any], folder: str, options: list[str]) -> list[str]:
    """Have a folder of the node, which a container fills, made and labelled; the options of its mount."""
    # Compose makes the folder where it is not there; Podman does not.
    command = f"/usr/bin/mkdir -p {folder}"
    if command not in container["quadlet"].get("Service", {}).get("ExecStartPre", []):
        _extra(container, "Service", "ExecStartPre", command)
    # SELinux keeps containers from what has another label, and the file was written where there is none of it.
    return options if {"z", "Z"} & set(options) else [*options, "z"]


def _ulimit(key: str, value: int | Mapping[Any, int]) -> str:
    if isinstance(value, int):
        return f"{key}={value}"
    return f"{key}={value.get('soft', value.get('hard'))}:{value.get('hard', value.get('soft'))}"


def _mode(text: str) -> str:
    """0440 is octal in Compose, however it is written; a number that is not is YAML's 288 for it."""
    text = text.removeprefix("0o").removeprefix("0O")
    return text.zfill(4) if re.fullmatch("0?[0-7]{3}", text) else f"{int(text):04o}"
