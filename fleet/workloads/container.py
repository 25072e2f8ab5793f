"""What a container is, and how each of its keys is said to Podman, to Docker and by Compose files.

The models are the table of keys; :mod:`fleet.workloads.rendering` says how it is read.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fleet.model import PLAIN, Grammar, Model, Shorthand
from fleet.workloads.fields import HostName, Memory, Mode, Name, Port, Text
from fleet.workloads.quadlet_keys import unknown_key
from fleet.workloads.rendering import Elsewhere, Key, Line, Option, Refused, Rendering, Special, Words
from fleet.workloads.times import CalendarEvent, GoDuration, TimeSpan


class HealthCheck(Model):
    """How Podman tells whether the container is well (podman-run(1), ``--health-*``).

    Attributes:
        command: A shell command line, or the words of a command that runs without a shell; run in the container.
        interval: Time between checks, a Go duration such as "30s"; "disable" for none but the first.
        timeout: Time that one check may take.
        retries: Failures in a row that make it unhealthy.
        start_period: Time after the start in which failures do not count.
        on_failure: What Podman does with an unhealthy container.
        notify: The service counts as started only once the container is healthy (``Notify=healthy``), so what
            depends on it waits for that.

    Examples:
        command: curl -f http://localhost:8080/
        interval: 1m30s
        timeout: 5s
        retries: 5
        start_period: 20s
    """

    command: Annotated[str | list[str], Rendering(Special("HealthCmd"), Special("--health-cmd"), Special("test"))]
    interval: Annotated[GoDuration, Rendering(Line("HealthInterval"), Option("--health-interval"), Key("interval"))] = (
        "30s"
    )
    timeout: Annotated[GoDuration, Rendering(Line("HealthTimeout"), Option("--health-timeout"), Key("timeout"))] = "30s"
    retries: Annotated[
        int, Field(ge=1), Rendering(Line("HealthRetries"), Option("--health-retries"), Special("retries"))
    ] = 3
    start_period: Annotated[
        GoDuration, Rendering(Line("HealthStartPeriod"), Option("--health-start-period"), Key("start_period"))
    ] = "0s"
    on_failure: Annotated[
        Literal["none", "kill", "restart", "stop"],
        Rendering(
            Line("HealthOnFailure"),
            Elsewhere("Docker does nothing about a container that is not healthy: `none` alone can be said"),
            Refused("Compose only looks: it is `none`."),
        ),
    ] = "kill"
    notify: Annotated[
        bool,
        Rendering(Special("Notify"), Elsewhere("`ExecStartPost=` of the service waits"), Special("depends_on")),
    ] = True


class SecretUse(Shorthand):
    """A secret as the container sees it. Written as its name, or in full.

    Attributes:
        name: The secret's name.
        type: A file in the container, or an environment variable.
        target: The file's path (a bare name is below ``/run/secrets``) or the variable's name; the secret's name by
            default.
        mode: The file's mode, an octal text such as "0400".
        uid: The file's owner.
        gid: The file's group.

    Examples:
        name: db-password
        target: DB_PASSWORD
        mode: "0440"
        uid: 1000
        gid: 1000
    """

    shorthand = "name"

    name: Name
    type: Literal["mount", "env"] = "mount"
    target: str = Field(default="", pattern=r"^[^,\s]*$")
    mode: Mode = "0400"
    uid: int = Field(default=0, ge=0)
    gid: int = Field(default=0, ge=0)


class NetworkUse(Shorthand):
    """A network that a container or pod is in. Written as its name, or in full.

    Attributes:
        name: A network of the group, or one of Podman's own: "host", "none", "bridge", "pasta".
        ip: Its fixed IPv4 address there; within the network's ``subnet``.
        ip6: Its fixed IPv6 address there.
        aliases: Further names under which the network's DNS knows it.

    Examples:
        name: backend
        ip: 10.89.1.10
        ip6: fd00:89::10
        aliases: [db]
    """

    shorthand = "name"

    name: Name
    ip: IPv4Address | None = None
    ip6: IPv6Address | None = None
    aliases: list[HostName] = []

    @model_validator(mode="after")
    def _own_networks_take_no_options(self) -> Self:
        """Podman's own networks have neither addresses nor aliases to choose."""
        if self.name in PODMAN_NETWORKS and (self.ip or self.ip6 or self.aliases):
            raise ValueError(f"the network {self.name} has no addresses or names to choose")
        return self


PODMAN_NETWORKS = ("host", "none", "bridge", "pasta")
"""Network modes of podman-run(1) that are no networks of the group."""


class FileMount(Model):
    r"""A file of the spec, put on the node and mounted in the container. Exactly one of ``source`` and ``text``.

    Attributes:
        target: Its path in the container.
        source: A file beside the spec, text or not, or a folder, of which all files are mounted.
        text: Its content.
        mode: Its permission bits on the node and so in the container; a folder's files are 0755 where they are
            executable here, else 0644.
        label: SELinux: "Z" for this container alone, "z" for several.
        read_only: The container cannot write it. What it writes is lost with the node.
        outside: ``source`` may be outside of the project's folder.

    Examples:
        target: /etc/caddy/Caddyfile
        source: Caddyfile
        text: "respond hello\n"
        mode: "0600"
    """

    target: str = Field(pattern=r"^/[^:]*[^/:]$")
    source: str = ""
    text: str | None = None
    mode: Mode = "0644"
    label: Literal["z", "Z"] = "Z"
    read_only: bool = True
    outside: bool = False

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        """One of `source` and `text`."""
        if bool(self.source) == (self.text is not None):
            raise ValueError("a file's content is one of `source: PATH` or `text: ...`")
        return self


class Schedule(Shorthand):
    """When a container runs, by a systemd timer. Written as the calendar expression, or in full.

    Attributes:
        calendar: systemd.time(7)'s calendar event, such as "daily" or "Mon *-*-* 03:00".
        random_delay: At most so much later, such as "15min", so that a fleet does not act as one.
        persistent: A run that was missed while the node was off is caught up.

    Examples:
        calendar: Mon *-*-* 03:00
        random_delay: 15min
    """

    shorthand = "calendar"

    calendar: CalendarEvent
    random_delay: TimeSpan = "0"
    persistent: bool = True


def _no_reference(image: str) -> str:
    if re.search(r"\s", image) or not image:
        return f"{image!r} is no reference of an image, such as docker.io/library/caddy:2"
    return f"name the registry too, as in docker.io/library/{image}: short names depend on the node"


_REFERENCE = r"(?:localhost|[^/\s]*[.:][^/\s]*)/\S*"
_LOCAL_IMAGE = r"[^/\s]*\.(?:image|build)"

REFERENCE = Grammar(_REFERENCE, _no_reference)
"""Of a reference that names its registry."""
ImageReference = Annotated[str, REFERENCE]
"""A reference of an image with its registry, such as "docker.io/library/caddy:2"."""


def _no_volume(volume: str) -> str:
    source, _, rest = volume.partition(":")
    if source and rest.startswith("/") and rest.count(":") <= 1:
        return (
            f"{volume!r} begins with a path that is relative, and the node has no folder of the spec: write an "
            "absolute path of the node or a volume's name; `files` puts files of the spec into the container"
        )
    return f"{volume!r} is no volume: write SOURCE:/TARGET or SOURCE:/TARGET:OPTIONS"


_VOLUME = Grammar(r"(?:/[^:]*|[^.~/:][^/:]*):/[^:]*(?::[^:]*)?", _no_volume)
_TMPFS = Grammar("/[^:]*(?::[^:]*)?", lambda item: f"{item!r} is no tmpfs: write /TARGET or /TARGET:OPTIONS")
# What is none would be taken for the image.
_OPTION = Grammar(
    r"(?!--$)-[^ =]*(?:=[\s\S]*)?", lambda word: f"{word!r} is no option: write one word for each, such as --ipc=host"
)
_VARIABLE = Grammar(r"[^\s=\x00-\x1f]+", lambda name: f"{name!r} is no name of an environment variable")


_IN_SERVICE = Elsewhere("`[Service]` of the unit")


def volume_source(volume: str) -> str:
    """The path of the node, or the name of the volume, that an item of ``volumes`` mounts."""
    return volume.partition(":")[0]


class Container(Model):
    """One container, run as a systemd service of the same name.

    Attributes:
        image: A fully qualified reference (registry, repository and tag or digest), or ``NAME.image`` or
            ``NAME.build`` for an image or a build of the group.
        pull: When Podman pulls the image.
        entrypoint: Words that replace the image's entry point.
        command: Words that replace the image's command.
        environment: Variables; values arrive character for character.
        labels: Labels of the container.
        pod: The group's pod that it is in; ports and networks are then the pod's.
        networks: Networks it is in; Podman's default one if there is none.
        ports: Published ports.
        volumes: ``SOURCE:TARGET[:OPTIONS]`` as in podman-run(1): a path of the node or a volume's name, the path in
            the container, and options such as ``ro,z``. A service whose volumes lie on a data disk waits for its mount.
        files: Files of the spec, mounted.
        tmpfs: Memory file systems: ``TARGET[:OPTIONS]``, such as "/run:size=16m".
        depends_on: Containers of the same node, and of the same user, that must be started (and healthy, if they
            notify) before it.
        secrets: Secrets of the spec that it uses.
        run_as: A user of the group whose rootless Podman runs it; root's runs it otherwise.
        user: User, or ``user:group``, in the container.
        groups: Further groups of that user.
        working_dir: Where the command starts.
        hostname: Its host name.
        add_hosts: More lines of its ``/etc/hosts``: ``NAME:ADDRESS``.
        dns: Name servers in place of the network's.
        devices: Devices of the node: ``HOST[:CONTAINER[:PERMISSIONS]]``.
        drop_capabilities: Capabilities to take away; "all" for each.
        add_capabilities: Capabilities beyond the default set.
        no_new_privileges: No program in it gains privileges, by setuid for one.
        read_only: Its root file system cannot be written; ``/tmp`` and ``/run`` are tmpfs.
        init: Run a small init as process 1, which reaps zombies.
        sysctl: Kernel parameters of its namespaces.
        ulimits: ``NAME=SOFT[:HARD]``.
        auto_update: Have podman-auto-update.timer pull newer images ("registry") or take newer local ones ("local").
        pids: Limit of processes.
        shm_size: Size of ``/dev/shm``.
        stop_signal: The signal that asks it to end.
        stop_timeout: Seconds from the stop signal to the kill signal.
        health: A health check.
        oneshot: It is to end: the service counts as started when it has ended well, and what depends on it waits.
        schedule: It is to end, and runs by a timer.
        restart: systemd's ``Restart=``; "always" by default, "no" for what is to end.
        start_timeout: Seconds that a start, with the first pull, may take.
        memory: Limit of memory.
        cpus: Limit in CPUs, such as 1.5.
        arguments: More options of podman-run(1) or docker-run(1), such as "--ipc=host"; each is one word.
        quadlet: More keys for the Quadlet file, by section: ``{Container: {Mask: ...}, Service: {...}}``. A value
            is a line or a list of lines, written as it is.

    Examples:
        image: docker.io/library/caddy:2
        entrypoint: [/usr/bin/caddy]
        command: [run, --config, /etc/caddy/Caddyfile]
        environment: {GREETING: hello, PORT: 8080}
        labels: {org.example.team: shop}
        pod: app
        networks: [backend]
        ports: ["8080:80", "127.0.0.1:9000:9000", "53:53/udp"]
        volumes: ["/var/lib/site:/srv:ro,z"]
        files: [{target: /etc/caddy/Caddyfile, source: Caddyfile}]
        tmpfs: ["/run:size=16m"]
        depends_on: [db]
        secrets: [db-password]
        run_as: app
        user: "1000:1000"
        groups: [video]
        working_dir: /srv
        hostname: app.internal
        add_hosts: ["db:10.77.0.10"]
        dns: [9.9.9.9]
        devices: [/dev/dri]
        drop_capabilities: [all]
        add_capabilities: [net_bind_service]
        sysctl: {net.ipv4.ip_unprivileged_port_start: 80}
        ulimits: ["nofile=65536"]
        pids: 512
        shm_size: 64m
        stop_signal: SIGINT
        stop_timeout: 60
        health: {command: curl -f http://localhost:8080/}
        schedule: daily
        start_timeout: 300
        memory: 512m
        cpus: 1.5
        arguments: [--ipc=host]
        quadlet: {Container: {Mask: /proc/acpi}}
    """

    image: Annotated[
        str,
        Grammar(f"{_REFERENCE}|{_LOCAL_IMAGE}", _no_reference),
        Rendering(Line("Image"), Special("IMAGE"), Special("image build")),
    ]
    pull: Annotated[
        Literal["always", "missing", "never", "newer"],
        Rendering(Special("Pull"), Option("--pull", but="not `newer`"), Special("pull_policy")),
    ] = "missing"
    entrypoint: Annotated[
        list[Text], Rendering(Special("Entrypoint"), Special("--entrypoint"), Special("entrypoint"))
    ] = []
    command: Annotated[list[Text], Rendering(Special("Exec"), Special("COMMAND"), Special("command"))] = []
    environment: Annotated[
        dict[Annotated[str, _VARIABLE], Text],
        Rendering(Words("Environment"), Special("--env --env-file"), Special("environment")),
    ] = {}
    labels: Annotated[dict[str, Text], Rendering(Words("Label"), Option("--label"), Key("labels"))] = {}
    pod: Annotated[
        Name | None,
        Rendering(
            Special("Pod"),
            Refused("Docker has no pods."),
            Refused("Compose has no pods; `network_mode: service:NAME` shares a network."),
        ),
    ] = None
    networks: Annotated[
        list[NetworkUse],
        Rendering(Special("Network"), Special("--network", but="not `pasta`"), Special("networks network_mode")),
    ] = []
    ports: Annotated[list[Port], PLAIN, Rendering(Line("PublishPort"), Option("--publish"), Special("ports"))] = []
    volumes: Annotated[
        list[Annotated[str, _VOLUME]],
        Rendering(Special("Volume RequiresMountsFor"), Option("--volume"), Special("volumes")),
    ] = []
    files: Annotated[
        list[FileMount], Rendering(Special("Volume"), Special("--volume"), Special("configs volumes"))
    ] = []
    tmpfs: Annotated[
        list[Annotated[str, _TMPFS]], Rendering(Line("Tmpfs"), Special("--tmpfs"), Special("tmpfs volumes"))
    ] = []
    depends_on: Annotated[
        list[Name],
        Rendering(
            Elsewhere("`Requires=` and `After=` of the unit"),
            Elsewhere("`Requires=` and `After=` of the unit"),
            Special("depends_on links"),
        ),
    ] = []
    secrets: Annotated[
        list[SecretUse],
        Rendering(Special("Secret"), Special("--volume", but="not `type: env`"), Special("secrets")),
    ] = []
    run_as: Annotated[
        Name | None,
        Rendering(
            Elsewhere("the folder of its file"),
            Refused("Docker runs every container by a daemon of root's."),
            Refused("Compose knows no rootless users."),
        ),
    ] = None
    user: Annotated[Text, Rendering(Special("User Group"), Option("--user"), Key("user"))] = ""
    groups: Annotated[list[Text], Rendering(Line("GroupAdd"), Option("--group-add"), Key("group_add"))] = []
    working_dir: Annotated[
        str, Field(pattern=r"^(/.*)?$"), Rendering(Line("WorkingDir"), Option("--workdir"), Key("working_dir"))
    ] = ""
    hostname: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9.-]{0,64}$"), Rendering(Line("HostName"), Option("--hostname"), Key("hostname"))
    ] = ""
    add_hosts: Annotated[list[str], Rendering(Line("AddHost"), Option("--add-host"), Key("extra_hosts"))] = []
    dns: Annotated[list[IPv4Address | IPv6Address], Rendering(Line("DNS"), Option("--dns"), Key("dns"))] = []
    devices: Annotated[
        list[str], Rendering(Words("AddDevice"), Option("--device"), Special("devices gpus deploy"))
    ] = []
    drop_capabilities: Annotated[
        list[str], Rendering(Words("DropCapability"), Option("--cap-drop"), Key("cap_drop"))
    ] = []
    add_capabilities: Annotated[list[str], Rendering(Words("AddCapability"), Option("--cap-add"), Key("cap_add"))] = []
    no_new_privileges: Annotated[
        bool, Rendering(Line("NoNewPrivileges"), Option("--security-opt=no-new-privileges"), Special("security_opt"))
    ] = False
    read_only: Annotated[bool, Rendering(Line("ReadOnly"), Option("--read-only"), Key("read_only"))] = False
    init: Annotated[bool, Rendering(Line("RunInit"), Option("--init"), Key("init"))] = False
    sysctl: Annotated[dict[str, Text], Rendering(Words("Sysctl"), Option("--sysctl"), Key("sysctls"))] = {}
    ulimits: Annotated[list[str], Rendering(Line("Ulimit"), Option("--ulimit"), Special("ulimits"))] = []
    auto_update: Annotated[
        Literal["registry", "local"] | None,
        Rendering(
            Line("AutoUpdate"),
            Refused("Docker has nothing that updates images."),
            Refused("Compose has no such key."),
        ),
    ] = None
    pids: Annotated[
        int | None, Field(ge=1), Rendering(Line("PidsLimit"), Option("--pids-limit"), Special("pids_limit deploy"))
    ] = None
    shm_size: Annotated[Memory, Rendering(Line("ShmSize"), Option("--shm-size"), Special("shm_size"))] = ""
    stop_signal: Annotated[
        str,
        Field(pattern=r"^(SIG[A-Z0-9+-]+|[0-9]+)?$"),
        Rendering(Line("StopSignal"), Option("--stop-signal"), Key("stop_signal")),
    ] = ""
    stop_timeout: Annotated[
        int,
        Field(ge=0),
        Rendering(
            Line("StopTimeout"),
            Elsewhere("`ExecStop=` and `TimeoutStopSec=` of the unit"),
            Special("stop_grace_period"),
        ),
    ] = 10
    health: Annotated[
        HealthCheck | None, Rendering(Special("Health..."), Special("--health-..."), Special("healthcheck"))
    ] = None
    oneshot: Annotated[bool, Rendering(_IN_SERVICE, _IN_SERVICE, Special("depends_on"))] = False
    schedule: Annotated[
        Schedule | None,
        Rendering(Elsewhere("a timer"), Elsewhere("a timer"), Refused("Compose has no such key.")),
    ] = None
    restart: Annotated[
        Literal["no", "on-failure", "always", "unless-stopped"] | None,
        Rendering(_IN_SERVICE, _IN_SERVICE, Special("restart deploy")),
    ] = None
    start_timeout: Annotated[
        int, Field(ge=1), Rendering(_IN_SERVICE, _IN_SERVICE, Refused("Compose has no such key."))
    ] = 900
    memory: Annotated[
        Memory, Rendering(Special("PodmanArgs=--memory"), Option("--memory"), Special("mem_limit deploy"))
    ] = ""
    cpus: Annotated[
        float | None, Field(gt=0), Rendering(Elsewhere("`PodmanArgs=--cpus`"), Option("--cpus"), Special("cpus deploy"))
    ] = None
    arguments: Annotated[
        list[Annotated[str, _OPTION]],
        Rendering(
            Words("PodmanArgs"), Special("OPTIONS"), Elsewhere("keys that no field has, such as `ipc` and `privileged`")
        ),
    ] = []
    quadlet: Annotated[
        dict[Literal["Unit", "Container", "Service", "Install"], dict[str, Text | list[Text]]],
        Rendering(
            Elsewhere("its sections"),
            Elsewhere("its sections, but for `Container`, which Docker knows nothing of"),
            Elsewhere("`restart: on-failure:N`, `depends_on` with `required: false`, and such"),
        ),
    ] = {}

    @property
    def ends(self) -> bool:
        """Whether it is to end by itself."""
        return self.oneshot or self.schedule is not None

    def lines(self, section: str, key: str) -> list[str]:
        """What ``quadlet`` has for a key of a section, line by line."""
        value = self.quadlet.get(section, {}).get(key, [])  # type: ignore[call-overload]
        return [value] if isinstance(value, str) else list(value)

    @property
    def local_image(self) -> tuple[str, str] | None:
        """Name and kind ("image" or "build") where the image is one that the group defines."""
        name, dot, kind = self.image.rpartition(".")
        return (name, kind) if dot and kind in ("image", "build") and "/" not in name else None

    @field_validator("quadlet")
    @classmethod
    def _known_keys(cls, quadlet: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Sections and keys of `quadlet` are such that Podman's Quadlet knows."""
        for section, keys in quadlet.items():
            for key in keys:
                if problem := unknown_key(section, key):
                    raise ValueError(problem)
        return quadlet

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        """In a pod, ports and networks are the pod's; what is to end is not restarted always, and has no check."""
        if self.pod and (self.ports or self.networks):
            raise ValueError("a container in a pod has its pod's ports and networks: name them there")
        refuse_ports_of_the_host(self.networks, self.ports)
        if self.ends and self.restart in ("always", "unless-stopped"):
            raise ValueError("what is to end can be restarted `on-failure` at most")
        if self.ends and self.health:
            raise ValueError("a health check is for what keeps running, not for what is to end")
        if self.oneshot and self.schedule:
            raise ValueError("say `oneshot` for a run at every boot or `schedule` for runs by a timer, not both")
        return self


def refuse_ports_of_the_host(networks: list[NetworkUse], ports: list[Port]) -> None:
    """Refuse to publish ports where Podman cannot, and drops them with a warning that nobody sees.

    Raises:
        ValueError: The network has no ports to publish.
    """
    for use in networks:
        if ports and use.name in ("host", "none"):
            raise ValueError(
                f"nothing can be published from the network {use.name}: leave `ports` out"
                + ("; the group's own `ports` open the firewall" if use.name == "host" else "")
            )
