"""Compose files as a group's workload."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.platforms import platform
from fleet.platforms.base import FleetPlan
from fleet.spec import Resolver, plan_spec
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
