"""Compose files as a group's workload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from fleet.workloads.compose_model import REASONS, Service
from tests.conftest import Folder, file_text
from tests.judge import Judge, option

Refused = Callable[..., str]

SPEC = "name: shop\nvariables: {TAG: 2, PASSWORD: 'p&s#s'}\ngroups:\n  shop:\n    compose: deploy/docker-compose.yml\n"

COMPOSE = """\
version: "3.9"
name: shop
x-common: &common
  restart: unless-stopped
  labels: {tier: front}
services:
  web:
    <<: *common
    image: caddy:${TAG}
    container_name: web
    command: caddy run --config "/etc/my caddy/Caddyfile"
    environment:
      - PASSWORD=${PASSWORD}
      - PRICE=5$$
    ports: ["80:80", {target: 443, published: 8443, protocol: tcp, host_ip: 127.0.0.1}]
    volumes:
      - ./Caddyfile:/etc/my-caddy/Caddyfile:ro
      - site:/srv:ro
      - {type: tmpfs, target: /scratch}
    networks: {front: {aliases: [shop], ipv4_address: 10.89.3.4}, back: {}}
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M}}}
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ["no-new-privileges:true"]
    ulimits: {nofile: {soft: 10, hard: 20}}
    stop_grace_period: 1m30s
    secrets: [token, {source: token, target: /etc/token, mode: 0440}]
    configs: [{source: banner, target: /etc/banner}]
    extra_hosts: {gateway: 10.0.0.1}
  db:
    image: postgres:16
    restart: always
    user: "999"
    shm_size: 128mb
    networks: [back]
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck: {test: [CMD, pg_isready, -U, shop], interval: 5s}
  migrate:
    image: ghcr.io/shop/migrate:1
    restart: no
    networks: [back]
  lone:
    image: busybox:1
networks:
  front: {ipam: {config: [{subnet: 10.89.3.0/24}]}}
  back: {internal: true}
volumes:
  data:
  site: {driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}}
secrets: {token: {external: true}}
configs: {banner: {content: hello}}
"""


@pytest.fixture
def shop(folder: Folder) -> Folder:
    folder.write("fleet.yaml", SPEC.replace("groups:", "secrets: {token: {env: TOKEN}}\ngroups:"))
    folder.write("deploy/docker-compose.yml", COMPOSE)
    folder.write("deploy/Caddyfile", ":80\n")
    return folder


def plan(folder: Folder) -> FleetPlan:
    where = platform("qemu", project=folder.path, stack="test")
    return plan_spec(folder.path / "fleet.yaml", Resolver(reveal=False), where, need_lock=False)


def test_a_compose_file_runs_as_its_author_expects(shop: Folder, judge: Judge) -> None:
    result = shop.fleet("render", "fleet.yaml", "--node", "shop-0")
    assert result.status == 0, result.err
    tree = json.loads(result.out)
    judge.apply(result.out)
    services = judge.services()
    assert judge.verify(services) == ""
    web = judge.words(services["web.service"])
    assert web[-5:] == ["docker.io/library/caddy:2", "caddy", "run", "--config", "/etc/my caddy/Caddyfile"]
    assert sorted(option(web, "--env")) == ["PASSWORD=p&s#s", "PRICE=5$"]
    assert option(web, "--publish") == ["80:80/tcp", "127.0.0.1:8443:443/tcp"]
    assert option(web, "--network") == ["front:ip=10.89.3.4,alias=shop", "back"]
    assert option(web, "--memory") + option(web, "--cpus") == ["64m", "0.5"]
    assert option(web, "--secret")[1].startswith("token,type=mount,target=/etc/token,")
    assert option(web, "--secret")[1].endswith("mode=0440")
    assert "tier=front" in option(web, "--label")
    assert file_text(tree, "/etc/fleet/files/web/etc/my-caddy/Caddyfile") == ":80\n"
    assert file_text(tree, "/etc/fleet/files/web/etc/banner") == "hello"
    assert "Requires=migrate.service" in services["web.service"]
    assert "Type=oneshot" in services["migrate.service"]
    database = judge.words(services["db.service"])
    assert json.loads(option(database, "--health-cmd")[0]) == ["pg_isready", "-U", "shop"]
    assert option(database, "--sdnotify") == ["healthy"]
    assert option(database, "--shm-size") == ["128m"]
    assert option(judge.words(services["lone.service"]), "--network") == ["compose-default"]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("restart: always", "runtime: nvidia", "docker-compose.yml:35:5: `runtime` cannot be had on a node"),
        ("restart: always", "env_file: .env", "docker-compose.yml:35:15: The env file"),
        ("restart: always", "restat: always", "docker-compose.yml:35:5: There is no key `restat`"),
        ("restart: always", "retries: 0", "docker-compose.yml:35:5: There is no key `retries`"),
        ("restart: always", "cpus: many", "docker-compose.yml:35:11: The value is none that"),
        ("restart: always", "ports: {a: b}", "docker-compose.yml:35:5: `ports` should be a list"),
        ("restart: always", "ports: ['80', '80:x']", "docker-compose.yml:35:19: "),
        ("internal: true", "driver: macvlan", "docker-compose.yml:49:18: `driver`"),
        ("${TAG}", "${VERSION}", "docker-compose.yml:9:12: `${VERSION}` names no variable"),
        ("${TAG}", "${VERSION:+2}${VERSION}", "docker-compose.yml:9:12: `${VERSION}` names no variable"),
        ("${TAG}", "${VERSION:-${OTHER}}", "docker-compose.yml:9:12: `${OTHER}` names no variable"),
        ("${TAG}", "${VERSION?set it}", "of which the file says: set it"),
        ("${TAG}", "${TAG", "is no reference to a variable"),
        ("- PRICE=5$$", "- PRICE", "docker-compose.yml:14:9: `PRICE` takes its value from the environment"),
        ("./Caddyfile:", "./conf:", "docker-compose.yml:17:9: ./conf is a path beside the Compose file"),
        ("image: busybox:1", 'build: ""', "46:12: An image is built from a folder"),
        (
            "image: busybox:1",
            "build: https://example.org/x.git",
            "46:12: An image is built from a folder",
        ),
        ('"80:80"', '"8080-8090:80"', "docker-compose.yml:15:13: 8080-8090 is no port"),
        ("site:/srv:ro", "sites:/srv:ro", "docker-compose.yml:18:9: The volume sites is not among"),
        ("site:/srv:ro", "site:/srv:rp", "docker-compose.yml:18:9: `rp` is no option"),
        (
            "{external: true}",
            "{external: true, name: other}",
            "docker-compose.yml:53:11: The secret other",
        ),
        ("stop_grace_period: 1m30s", "stop_grace_period: soon", "is no duration"),
        ("db: {condition: service_healthy}", "cache: {condition: service_started}", "22:7: web depends on cache"),
        (
            "db: {condition: service_healthy}",
            "lone: {condition: service_healthy}",
            "22:25: web waits until lone",
        ),
        ("healthcheck: {test: [CMD, pg_isready, -U, shop], ", "healthcheck: {", "The health check has no `test`"),
        ("restart: always", "extends: nothing", 'extends the service "nothing"'),
        ("restart: always", "extends: db", "db extends itself"),
        ("  lone:", "  lo.ne:", "docker-compose.yml:45:3: lo.ne is a name that nothing on a node can have"),
        ("configs: {banner:", "include: [https://example.org/x.yaml]\nconfigs: {banner:", "put a copy of it into"),
        ("configs: {banner:", "include: [docker-compose.yml]\nconfigs: {banner:", "The file includes itself"),
        ("    image: busybox:1", "    image: !custom busybox:1", "docker-compose.yml:46:12: The tag `!custom`"),
        ("    image: busybox:1", "    image: busybox:1\n    image: x", "`image` stands here for the second time"),
        ("  lone:", "\tlone:", "docker-compose.yml:45:"),
    ],
)
def test_what_cannot_be_mapped_is_named_with_its_place(shop: Folder, old: str, new: str, wanted: str) -> None:
    shop.edit("deploy/docker-compose.yml", old, new)
    with pytest.raises(UsageError) as caught:
        plan(shop)
    assert wanted in str(caught.value)
    assert "is missing here" not in str(caught.value)


def test_a_group_can_add_to_its_compose_file_but_not_contradict_it(shop: Folder, refused: Refused) -> None:
    text = (shop.path / "fleet.yaml").read_text()
    shop.write(
        "fleet.yaml", text + "    containers:\n      extra: {image: docker.io/library/busybox:1, depends_on: [db]}\n"
    )
    assert shop.fleet("validate", "fleet.yaml").status == 0
    shop.edit("fleet.yaml", "extra:", "db:")
    error = refused("validate", "fleet.yaml", status=2)
    assert "fleet.yaml:8:7: `containers` has db, and so has" in error


def test_units_of_a_file_with_many_keys_stay_as_they_are(folder: Folder) -> None:
    """A byte that changes here re-provisions nodes of people who change nothing."""
    data = Path(__file__).parent / "data"
    folder.write("fleet.yaml", SPEC.replace("groups:", "secrets: {token: {env: TOKEN}}\ngroups:"))
    folder.write("deploy/docker-compose.yml", (data / "compose_keys.yaml").read_text())
    folder.write("deploy/Caddyfile", ":80\n")
    (node,) = plan(folder).nodes
    units = {
        entry["path"]: file_text(node.config.tree, entry["path"])
        for entry in node.config.tree["storage"]["files"]
        if entry["path"].startswith("/etc/containers/systemd/")
    }
    assert "".join(f"### {path}\n{text}" for path, text in units.items()) == (data / "compose_units.txt").read_text()


MAPPED: dict[str, tuple[str, list[str]]] = {
    "a counted restart": (
        "restart: on-failure:5", ["Restart=on-failure", "StartLimitIntervalSec=infinity", "StartLimitBurst=6"]
    ),
    "Swarm's restart policy": (
        "deploy: {restart_policy: {condition: on-failure, delay: 7s, max_attempts: 2}}",
        ["Restart=on-failure", "RestartSec=7", "StartLimitBurst=3"],
    ),
    "a range of ports": (
        "ports: ['8000-8002:9000-9002/udp']",
        ["PublishPort=8000:9000/udp", "PublishPort=8001:9001/udp", "PublishPort=8002:9002/udp"],
    ),
    "a label without a value": ("labels: [alone, a=b=c]", ['Label="alone="', 'Label="a=b=c"']),
    "numbers as they are written": ("environment: {A: 1.10, B: 022}", ['Environment="A=1.10"', 'Environment="B=022"']),
    "booleans": ("environment: {A: true}", ['Environment="A=true"']),
    "a variable by its name": ("environment: [TAG]", ['Environment="TAG=2"']),
    "a variable by its name in a mapping": ("environment: {TAG: }", ['Environment="TAG=2"']),
    "a default": ("environment: {A: '${NO:-x}${TAG:-y}${NO-z}${TAG:+set}${NO:+not}$$'}", ['Environment="A=x2zset$$"']),
    "a default in a default": ("environment: {A: '${NO:-${TAG}}'}", ['Environment="A=2"']),
    "a build": ("build: {context: ., args: {V: 1.0, TAG: }, target: t}", ["Image=one.build"]),
    "a second name": ("container_name: shop_one", ["Network=compose-default.network:alias=shop_one"]),
    "a health check that is off": ("healthcheck: {disable: true}", ['PodmanArgs="--no-healthcheck"']),
    "retries of none, which are Docker's default": (
        "healthcheck: {test: x, retries: 0}", ["HealthRetries=3", 'HealthCmd=["CMD-SHELL", "x"]']
    ),
    "a folder that is filled on the node": (
        "volumes: ['./a/b:/x:cached']",
        ["Volume=/var/lib/shop/a/b:/x:z", "ExecStartPre=/usr/bin/mkdir -p /var/lib/shop/a/b"],
    ),
    "a folder that has a label": ("volumes: ['./a:/x:Z,exec']", ["Volume=/var/lib/shop/a:/x:Z,exec"]),
    "a folder of a volume": (
        "volumes: ['folder:/x', 'folder:/y:ro']",
        ["Volume=folder.volume:/x:z", "Volume=folder.volume:/y:ro,z",
         "ExecStartPre=/usr/bin/mkdir -p /var/lib/shop/kept"],
    ),
    "a volume of one letter": ("volumes: ['d:/data:ro']", ["Volume=d.volume:/data:ro"]),
    "a path of the node as it is": ("volumes: ['/srv/a:/x']", ["Volume=/srv/a:/x"]),
    "a secret of one who is not root": (
        "user: '1000'\n    secrets: [token]", ['Secret="token,type=mount,target=token,uid=0,gid=0,mode=0444"']
    ),
    "a secret of root": ("secrets: [token]", ['Secret="token,type=mount,target=token,uid=0,gid=0,mode=0400"']),
    "a folder of files": ("volumes: ['./conf:/etc/app:ro']", ["Volume=/etc/fleet/files/one/etc/app:/etc/app:ro,Z"]),
    "options as they are written": ("volumes: ['/srv:/x:z,ro']", ["Volume=/srv:/x:z,ro"]),
    "a tmpfs of a size": (
        "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 65536, mode: 01777}}]", ["Tmpfs=/t:size=65536,mode=01777"]
    ),
    "sizes of all sorts": (
        "mem_limit: 1.5GiB\n    shm_size: 64M\n    mem_reservation: 100mb",
        ["ShmSize=64m", "PodmanArgs=--memory=1610612736", 'PodmanArgs="--memory-reservation=100m"'],
    ),
    "no limit of processes": ("pids_limit: -1", ['PodmanArgs="--pids-limit=-1"']),
    "all privileges": ("privileged: true\n    tty: true", ['PodmanArgs="--privileged"', 'PodmanArgs="--tty"']),
    "security options": (
        "security_opt: [no-new-privileges, 'label:disable', seccomp=unconfined, apparmor=unconfined]",
        ["NoNewPrivileges=true", 'PodmanArgs="--security-opt=label=disable"',
         'PodmanArgs="--security-opt=seccomp=unconfined"'],
    ),
    "GPUs": ("gpus: all", ['AddDevice="nvidia.com/gpu=all"']),
    "two GPUs": (
        "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}",
        ['AddDevice="nvidia.com/gpu=0"', 'AddDevice="nvidia.com/gpu=1"'],
    ),
    "another's network": (
        "network_mode: service:two",
        ['PodmanArgs="--network=container:two"', "Requires=two.service", "BindsTo=two.service"],
    ),
    "what need not be there": ("depends_on: {two: {condition: service_started, required: false}}",
                               ["Wants=two.service", "After=two.service"]),
    "a link": ("links: [two]", ["Requires=two.service", "After=two.service"]),
    "the journal for rotated files": ("logging: {driver: json-file, options: {max-size: 1m}}", ["Image=docker.io/x/y"]),
    "no log": ("logging: {driver: none}", ['PodmanArgs="--log-driver=none"']),
    "DNS": ("dns_search: example.org\n    dns_opt: [use-vc]",
            ['PodmanArgs="--dns-search=example.org"', 'PodmanArgs="--dns-option=use-vc"']),
    "annotations": ("annotations: {a: b c}", ['PodmanArgs="--annotation=a=b c"']),
    "extensions anywhere": (
        "x-a: 1\n    deploy: {x-b: 2, resources: {x-c: {}}}\n    healthcheck: {x-d: 1, test: x}",
        ["Image=docker.io/x/y"],
    ),
    "an env file": ("env_file: one.env\n    environment: {B: own}", ['Environment="A=1"', 'Environment="B=own"']),
    "a merge key": ("<<: [*first, *second]", ['Environment="F=1"', "HostName=second"]),
}  # fmt: skip


@pytest.mark.parametrize("what", MAPPED)
def test_what_compose_can_say_is_said_to_podman(folder: Folder, what: str) -> None:
    keys, expected = MAPPED[what]
    full = "{folder: /var/lib/shop, path: deploy/docker-compose.yml}"
    folder.write("fleet.yaml", SPEC.replace("deploy/docker-compose.yml", full) + "secrets: {token: {env: TOKEN}}\n")
    image = "" if "build" in keys else "image: x/y\n    "
    folder.write(
        "deploy/docker-compose.yml",
        "x-first: &first {environment: {F: 1}}\nx-second: &second {environment: {F: 2}, hostname: second}\n"
        f"services:\n  one:\n    {image}{keys}\n  two: {{image: x/y}}\n"
        "volumes: {d: {}, folder: {driver_opts: {type: none, o: bind, device: ./kept}}}\n"
        "secrets: {token: {external: true}}\n",
    )
    folder.write("deploy/Dockerfile", "FROM x\n")
    folder.write("deploy/conf/deep/app.conf", "x")
    folder.write("deploy/one.env", "A=1\nB=file\n")
    (node,) = plan(folder).nodes
    lines = file_text(node.config.tree, "/etc/containers/systemd/one.container").splitlines()
    assert [line for line in expected if line not in lines] == [], lines
    if what == "a build":
        build = file_text(node.config.tree, "/etc/containers/systemd/one.build").splitlines()
        assert {'PodmanArgs="--build-arg=V=1.0"', 'PodmanArgs="--build-arg=TAG=2"', "Target=t"} <= set(build)
    if what == "a folder of files":
        assert file_text(node.config.tree, "/etc/fleet/files/one/etc/app/deep/app.conf") == "x"
    if what == "another's network":
        other = file_text(node.config.tree, "/etc/containers/systemd/two.container").splitlines()
        assert "Upholds=one.service" in other


def test_every_key_of_the_specification_is_mapped_or_refused_with_a_reason() -> None:
    """No key of a service is known to compose-go and unknown here."""
    # The transpiler deals with these two.
    assert SERVICE_KEYS - set(Service.model_fields) - set(REASONS) == {"env_file", "extends"}


SERVICE_KEYS = frozenset(
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name "
    "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec "
    "depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file "
    "environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc "
    "isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit "
    "models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_start "
    "pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart runtime scale secrets "
    "security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits umask "
    "use_api_socket user userns_mode uts volumes volumes_from working_dir".split()
)
"""Those of the specification's JSON schema."""


def test_included_and_extended_files_keep_their_own_paths_and_places(folder: Folder) -> None:
    folder.write("fleet.yaml", "name: shop\ngroups: {shop: {compose: compose.yaml}}\n")
    folder.write("compose.yaml", "include: [parts/compose.yaml]\nservices: {web: {image: x/y, networks: [back]}}\n")
    folder.write(
        "parts/compose.yaml",
        "services:\n  db:\n    extends: {file: base/base.yaml, service: base}\n    image: x/db:${TAG}\n"
        "networks: {back: {}}\n",
    )
    folder.write("parts/.env", "TAG=7\n")
    folder.write(
        "parts/base/base.yaml",
        "services:\n  base:\n    hostname: base\n    volumes: [./conf:/conf:ro]\n    env_file: base.env\n",
    )
    folder.write("parts/base/base.env", "WHO=base\n")
    folder.write("parts/base/conf/a", "a")
    (node,) = plan(folder).nodes
    unit = file_text(node.config.tree, "/etc/containers/systemd/db.container")
    assert "Image=docker.io/x/db:7\n" in unit
    assert 'Environment="WHO=base"\n' in unit
    assert file_text(node.config.tree, "/etc/fleet/files/db/conf/a") == "a"
    folder.edit("parts/base/base.yaml", "hostname: base", "umask: 077")
    with pytest.raises(UsageError, match=r"parts/base/base.yaml:3:5: `umask` cannot be had on a node"):
        plan(folder)


def test_aliases_that_multiply_are_refused(folder: Folder) -> None:
    levels = "\n".join(f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    folder.write("fleet.yaml", "name: shop\ngroups: {shop: {compose: compose.yaml}}\n")
    folder.write("compose.yaml", f"x-0: &a0 [lol]\n{levels}\nservices: {{web: {{image: x/y, labels: *a11}}}}\n")
    with pytest.raises(UsageError, match="aliases multiply"):
        plan(folder)


def test_a_profile_is_chosen_by_the_spec(folder: Folder) -> None:
    folder.write("compose.yaml", "services:\n  web: {image: x/y}\n  debug: {image: x/y, profiles: [debug, all]}\n")
    for profiles, there in (("", False), ("debug", True), ("other", False)):
        folder.write(
            "fleet.yaml", f"name: s\ngroups: {{s: {{compose: {{path: compose.yaml, profiles: [{profiles}]}}}}}}\n"
        )
        (node,) = plan(folder).nodes
        assert ("debug.container" in node.config.ignition) == there


def test_the_same_project_in_another_folder_is_the_same_config(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "another/place"):
        folder = Folder(tmp_path / name, {})
        folder.write("fleet.yaml", SPEC.replace("groups:", "secrets: {token: {env: TOKEN}}\ngroups:"))
        folder.write("deploy/docker-compose.yml", COMPOSE)
        folder.write("deploy/Caddyfile", ":80\n")
        for _ in range(5):
            digests |= {node.config.digest for node in plan(folder).nodes}
    assert len(digests) == 1


@pytest.mark.parametrize("file", [".env", "one.env"])
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=pass$word", None),
        ('A="pass $word"', None),
        ("A=pass${word}", None),
        ("export A=$TAG$word", None),
        ("word", None),
        ("A=pass$$word", "pass$word"),
        ("A='pass$word'", "pass$word"),
        ("A=pass${word:-}", "pass"),
        ("A=pass${word:-d}", "passd"),
        ("A=$TAG$FIRST", "21"),
        ("A=$9$ # $word", "$9$"),
    ],
)
def test_a_dollar_in_an_env_file_is_a_reference_or_an_error(
    folder: Folder, file: str, line: str, value: str | None
) -> None:
    folder.write("fleet.yaml", SPEC)
    use = 'environment: {A: "${A:-}"}' if file == ".env" else "env_file: one.env"
    folder.write("deploy/docker-compose.yml", f"services: {{one: {{image: x/y, {use}}}}}\n")
    folder.write(f"deploy/{file}", f"# $word\nFIRST=1\n{line}\n")
    if value is None:
        with pytest.raises(UsageError, match=rf"/deploy/{file}:3:1: ") as caught:
            plan(folder)
        assert "word" not in str(caught.value)
        return
    (node,) = plan(folder).nodes
    unit = file_text(node.config.tree, "/etc/containers/systemd/one.container")
    assert f'Environment="A={value.replace("$", "$$")}"\n' in unit


def test_what_compose_go_itself_fails_on_is_an_error_of_the_file(folder: Folder) -> None:
    folder.write("fleet.yaml", SPEC)
    folder.write("deploy/docker-compose.yml", "services: {one: {build: {additional_contexts: {a: }}}}\n")
    with pytest.raises(
        UsageError, match=r"docker-compose.yml: compose-go, which reads Compose files, fails on this one"
    ):
        plan(folder)
    # What reads it goes on.
    folder.write("deploy/docker-compose.yml", "services: {one: {image: x/y}}\n")
    assert list(plan(folder).nodes)
