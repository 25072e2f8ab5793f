"""A Matrix homeserver on one node: Caddy, Synapse, PostgreSQL and Element Web.

::

    Internet ── 80, 443, 8448 ── caddy ──(web)── synapse ──(db)── postgres
                                   └─────(web)── element

With `workers`, further processes of Synapse (``worker-0``, ...) take reading requests off its first one; they talk to
one another through Valkey.

Everything that is worth keeping lies on the data disk ``/var/lib/matrix``: the database, the media, Caddy's
certificates and backups. The node itself can be re-provisioned at any time. What happens to the database before
PostgreSQL starts, a new cluster, an upgrade to another major version or a restored backup, is ``database.sh``'s work.

Every key of the stack's config is documented in README.md.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Any

import yaml

from fleet.errors import UsageError
from fleet.spec import SpecConfig

CADDY = "docker.io/library/caddy:2.10"
SYNAPSE = "docker.io/matrixdotorg/synapse:v1.163.2"
POSTGRES = "docker.io/library/postgres"
ELEMENT = "docker.io/vectorim/element-web:v1.12.6"
RESTIC = "docker.io/restic/restic:0.18.1"
COTURN = "docker.io/coturn/coturn:4.7.0"
VALKEY = "docker.io/valkey/valkey:8.1"

DATA = "/var/lib/matrix"
ACME_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
HOME = ("qemu", "libvirt")
"""Platforms that the internet does not reach, so no public authority gives them a certificate: Caddy's own one does."""
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
RELAYS = range(49160, 49180)
"""UDP ports of coturn's relays: one for each side of a call."""
USERS = {"caddy": 1000, "synapse": 991, "postgres": 999, "element": 101, "coturn": 65534, "valkey": 999}
"""Users in the containers; those of the images, where an image has one. Folders of the data disk belong to them."""
FOR_WORKERS = {
    # Requests of one user go to one worker, which then has in its caches what the next one asks.
    "header Authorization": "^/_matrix/client/(api/v1|r0|v3|unstable)/(sync|events|initialSync|joined_rooms|"
    "keys/(query|changes|claim)|user_directory/search|"
    "rooms/[^/]+/(initialSync|members|joined_members|state|event/.*|context/.*))$",
    # Transactions of another server must not overtake one another.
    "ip_hash": "^/_matrix/(federation/v1/(send|event|state|state_ids|backfill|get_missing_events|query|"
    "make_join|make_leave|event_auth|user/devices|hierarchy)/|federation/v[12]/(send_join|send_leave|invite)/)",
}
"""Paths that generic workers can answer, by how Caddy chooses the worker
(https://element-hq.github.io/synapse/latest/workers.html#available-worker-applications).
"""
LOCKED: dict[str, Any] = {"read_only": True, "no_new_privileges": True, "drop_capabilities": ["all"]}


def spec(config: SpecConfig) -> dict[str, Any]:
    """The fleet: one group of one node.

    Raises:
        UsageError: The config lacks something, or says something that cannot be.
    """
    server = Server(config)
    return {
        "version": 1,
        "name": "matrix",
        "ssh_authorized_keys": config.texts("ssh_authorized_keys"),
        "secrets": server.secrets(),
        "variables": {
            "postgres": str(server.postgres),
            "image": POSTGRES,
            "restore": server.restore,
        },
        "groups": {
            "matrix": {
                "size": config.get("size", "small"),
                "names": server.names,
                "snippets": [
                    {"path": "matrix.bu", "variables": ["postgres", "image", "restore"]},
                    *config.texts("snippets"),
                ],
                "networks": {name: {} if name == "web" else {"internal": True} for name in server.networks()},
                "containers": server.containers(),
                "data_disks": {"matrix": {"size_gib": config.number("data_gib", 20), "mount": DATA}},
                "ports": [{"number": port, "protocol": "udp"} for port in RELAYS] + [3478, "3478/udp"]
                if server.turn
                else [],
                "ready": server.ready(),
                "ready_timeout": 1800,
            }
        },
    }


class Server:
    """What the config makes of the server.

    Args:
        config: The stack's config.

    Raises:
        UsageError: It lacks something, or says something that cannot be.
    """

    def __init__(self, config: SpecConfig) -> None:
        self.config = config
        self.domain = config.require("domain", example="example.org")
        self.at_home = config.platform in HOME
        self.staging = config.flag("acme_staging")
        self.element = config.flag("element", True)
        self.federation = config.flag("federation", True)
        self.turn = config.flag("turn")
        self.postgres = config.number("postgres", 17)
        self.restore = config.get("restore")
        self.repository = config.get("backup_repository", "/backup")
        self.bridges = config.texts("bridges")
        self.workers = config.number("workers", 0)
        if self.restore and not re.fullmatch("latest|[0-9a-f]{8,64}", self.restore):
            raise UsageError(f"`restore` is `latest` or the id of a restic snapshot, not {self.restore!r}.")
        if self.turn and config.platform == "qemu":
            raise UsageError("TURN needs a range of ports, which the platform qemu does not forward.")
        if not 0 <= self.workers <= 16:
            raise UsageError(f"`workers` is a number from 0 to 16, not {self.workers}.")
        # The port of the host, where that is not the node's own.
        self.port = ":8443" if config.platform == "qemu" else ""

    @property
    def names(self) -> list[str]:
        """Names that lead to the node."""
        return [self.domain, f"matrix.{self.domain}", *([f"element.{self.domain}"] if self.element else [])]

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"https://matrix.{self.domain}{self.port}"

    def secrets(self) -> dict[str, Any]:
        """All are generated once, and stay in the stack's config.

        Synapse's signing key is an Ed25519 seed in its own format (signedjson: algorithm, version, unpadded base64).
        """
        made: dict[str, Any] = {
            name: {"config": name.replace("-", "_"), "generate": {}}
            for name in ("db-password", "macaroon-key", "form-secret", "registration-secret", "backup-password")
        }
        key = {"encoding": "base64", "prefix": "ed25519 a_fleet "}
        made["signing-key"] = {"config": "signing_key", "generate": key}
        if self.workers:
            made["replication-secret"] = {"config": "replication_secret", "generate": {}}
        if self.turn:
            made["turn-secret"] = {"config": "turn_secret", "generate": {}}
        if self.remote_backup:
            made["backup-s3-secret"] = {"config": "backup_s3_secret"}
        return made

    def networks(self) -> list[str]:
        """Networks that Synapse is in: the first leads outside."""
        return ["web", "db", *(["workers"] if self.workers else [])]

    @property
    def remote_backup(self) -> bool:
        """Whether backups go to a bucket."""
        return self.repository.startswith("s3:")

    def ready(self) -> list[dict[str, Any]]:
        """The client API's versions through Caddy, and federation's."""
        ask = {"tls": True, "host": f"matrix.{self.domain}", "verify": not (self.at_home or self.staging)}
        found = [{"http": {"port": 443, "path": "/_matrix/client/versions", **ask}}]
        if self.federation:
            found.append({"http": {"port": 8448, "path": "/_matrix/federation/v1/version", **ask}})
        return found

    def containers(self) -> dict[str, Any]:
        """All containers of the node."""
        made = {"caddy": self._caddy(), "synapse": self._synapse(), "postgres": self._postgres()}
        for name in self._worker_names():
            made[name] = self._worker(name)
        if self.workers:
            made["valkey"] = self._valkey()
        if self.element:
            made["element"] = self._element()
        if self.turn:
            made["coturn"] = self._coturn()
        made["backup"] = self._restic(
            "restic cat config >/dev/null 2>&1 || restic init; restic backup /data; "
            "restic forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --prune",
            ["DAC_READ_SEARCH"],
            schedule={"calendar": "daily", "random_delay": "1h"},
            quadlet={
                "Unit": {"Requires": "postgres.service", "After": "postgres.service"},
                "Service": {"ExecStartPre": "/bin/bash /etc/matrix/dump.sh"},
            },
        )
        if self.restore:
            # Only onto an empty disk; matrix.bu has the database wait for it.
            made["restore"] = self._restic(
                f"restic restore {self.restore} --target / --include /data",
                ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
                oneshot=True,
                quadlet={
                    "Unit": {
                        "ConditionDirectoryNotEmpty": f"!{DATA}/postgres",
                        "Requires": "matrix-folders.service",
                        "After": "matrix-folders.service",
                    },
                },
            )
        return made

    def _caddy(self) -> dict[str, Any]:
        return {
            "image": CADDY,
            "command": ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"],
            "networks": ["web"],
            "ports": ["80:8080", "443:8443", *(["8448:8448"] if self.federation else [])],
            "user": f"{USERS['caddy']}:{USERS['caddy']}",
            "files": [{"target": "/etc/caddy/Caddyfile", "text": self._caddyfile()}],
            "environment": {"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"},
            "volumes": [f"{DATA}/caddy:/data:Z"],
            "tmpfs": ["/config:mode=1777"],
            # The image's binary has this as a file capability, and does not start without.
            "add_capabilities": ["NET_BIND_SERVICE"],
            **_with_data(LOCKED),
        }

    def _caddyfile(self) -> str:
        options = ["http_port 8080", "https_port 8443", "admin off"]
        if self.at_home:
            options += ["local_certs", "skip_install_trust"]
        elif self.staging:
            options.append(f"acme_ca {ACME_STAGING}")
        if email := self.config.get("acme_email"):
            options.append(f"email {email}")
        found = {"m.homeserver": {"base_url": self.url}}
        delegation = {"m.server": f"matrix.{self.domain}:8448"}
        at = [f"matrix.{self.domain}"] + ([f"matrix.{self.domain}:8448"] if self.federation else [])
        sites = {
            self.domain: [
                "header /.well-known/matrix/* Content-Type application/json",
                "header /.well-known/matrix/* Access-Control-Allow-Origin *",
                f"respond /.well-known/matrix/client `{json.dumps(found)}`",
                *([f"respond /.well-known/matrix/server `{json.dumps(delegation)}`"] if self.federation else []),
                *([f"redir / https://element.{self.domain}{self.port}"] if self.element else []),
            ],
            # Not `/_synapse/admin`: that is for the node alone.
            ", ".join(at): self._proxies(),
        }
        if self.element:
            sites[f"element.{self.domain}"] = ["reverse_proxy element:8080"]
        blocks = {"": options, **sites}
        return "\n".join(
            f"{name} {{\n".lstrip() + "".join(f"\t{line}\n" for line in lines) + "}\n" for name, lines in blocks.items()
        )

    def _proxies(self) -> list[str]:
        """Caddy's directives for Synapse. The first that fits a request takes it."""
        proxies = []
        for number, (choice, paths) in enumerate(FOR_WORKERS.items() if self.workers else ()):
            proxies += [f"@workers{number} path_regexp {paths}", f"reverse_proxy @workers{number} {{"]
            proxies += [
                f"\tto {' '.join(f'{name}:8008' for name in self._worker_names())}",
                f"\tlb_policy {choice}",
                "}",
            ]
        proxies += ["reverse_proxy /_matrix/* synapse:8008", "reverse_proxy /_synapse/client/* synapse:8008"]
        return ["route {", *(f"\t{line}" for line in proxies), "}"]

    def _synapse(self) -> dict[str, Any]:
        return {
            **self._process("homeserver"),
            "volumes": [f"{DATA}/media:/media:z"],
            "depends_on": ["postgres", *(["valkey"] if self.workers else [])],
        }

    def _listener(self) -> dict[str, Any]:
        return _listener(8008, "client", *(["federation"] if self.federation else []))

    def _worker_names(self) -> list[str]:
        return [f"worker-{number}" for number in range(self.workers)]

    def _worker(self, name: str) -> dict[str, Any]:
        settings = {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": name,
            "worker_listeners": [self._listener()],
            "worker_log_config": "/etc/synapse/log.yaml",
            "enable_media_repo": False,
        }
        return {**self._process("generic_worker", worker=settings), "depends_on": ["synapse"]}

    def _valkey(self) -> dict[str, Any]:
        user = USERS["valkey"]
        return {
            "image": VALKEY,
            # It keeps nothing: what is in it goes from one process to the others.
            "entrypoint": ["valkey-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"],
            "networks": ["workers"],
            "user": f"{user}:{user}",
            **LOCKED,
        }

    def _process(self, app: str, *, worker: dict[str, Any] | None = None) -> dict[str, Any]:
        """What Synapse's processes have in common; the first one runs the app ``homeserver``."""
        user = USERS["synapse"]
        names = ["db-password", "macaroon-key", "form-secret", "registration-secret", "signing-key"]
        names += ["turn-secret"] if self.turn else []
        names += ["replication-secret"] if self.workers else []
        uses: list[dict[str, Any]] = [{"name": name, "uid": user, "gid": user} for name in names[1:]]
        configs = ["-c", "/etc/synapse/homeserver.yaml", *(["-c", "/etc/synapse/worker.yaml"] if worker else [])]
        return {
            "image": SYNAPSE,
            "entrypoint": ["python3", "-m", f"synapse.app.{app}", *configs],
            "networks": self.networks(),
            "user": f"{user}:{user}",
            "files": [
                {"target": "/etc/synapse/homeserver.yaml", "text": _yaml(self._homeserver())},
                *([{"target": "/etc/synapse/worker.yaml", "text": _yaml(worker)}] if worker else []),
                {"target": "/etc/synapse/log.yaml", "text": _yaml(_LOG)},
                *({"target": f"/etc/synapse/{path}", "source": path} for path in self.bridges),
            ],
            # libpq reads the password from the environment.
            "secrets": [*uses, {"name": "db-password", "type": "env", "target": "PGPASSWORD"}],
            "health": {
                "command": ["python3", "-c", "from urllib.request import *; urlopen('http://localhost:8008/health')"],
                "start_period": "5m",
                "on_failure": "kill",
                "notify": False,
            },
            **_with_data(LOCKED),
        }

    def _homeserver(self) -> dict[str, Any]:
        registration = self.config.flag("registration")
        settings: dict[str, Any] = {
            "server_name": self.domain,
            "public_baseurl": f"{self.url}/",
            "report_stats": False,
            "listeners": [self._listener()],
            "database": {
                "name": "psycopg2",
                "args": {"user": "synapse", "dbname": "synapse", "host": "postgres", "cp_min": 5, "cp_max": 10},
            },
            "log_config": "/etc/synapse/log.yaml",
            "media_store_path": "/media",
            "signing_key_path": "/run/secrets/signing-key",
            "macaroon_secret_key_path": "/run/secrets/macaroon-key",
            "form_secret_path": "/run/secrets/form-secret",
            "registration_shared_secret_path": "/run/secrets/registration-secret",
            "enable_registration": registration,
            # Open registration draws spammers: newcomers need a token that an administrator made.
            "registration_requires_token": registration,
            "trusted_key_servers": [{"server_name": "matrix.org"}],
            "suppress_key_server_warning": True,
        }
        if self.workers:
            settings["listeners"].append(_listener(9093, "replication"))
            settings["redis"] = {"enabled": True, "host": "valkey"}
            settings["instance_map"] = {"main": {"host": "synapse", "port": 9093}}
            settings["worker_replication_secret_path"] = "/run/secrets/replication-secret"
        if not self.federation:
            settings["federation_domain_whitelist"] = []
        if self.bridges:
            settings["app_service_config_files"] = [f"/etc/synapse/{path}" for path in self.bridges]
        if self.turn:
            host = f"turn:matrix.{self.domain}:3478"
            settings["turn_uris"] = [f"{host}?transport=udp", f"{host}?transport=tcp"]
            settings["turn_shared_secret_path"] = "/run/secrets/turn-secret"
        return settings

    def _postgres(self) -> dict[str, Any]:
        user = USERS["postgres"]
        return {
            "image": f"{POSTGRES}:{self.postgres}",
            "networks": ["db"],
            "user": f"{user}:{user}",
            "environment": {"PGDATA": "/pgdata"},
            "volumes": [f"{DATA}/postgres/{self.postgres}:/pgdata:Z"],
            "tmpfs": ["/run/postgresql:mode=1777"],
            "shm_size": "256m",
            "stop_signal": "SIGINT",
            "stop_timeout": 120,
            # database.sh sets it when it makes the cluster.
            "secrets": [{"name": "db-password", "uid": user, "gid": user}],
            "health": {"command": "pg_isready -q -h 127.0.0.1 -U synapse", "interval": "10s", "on_failure": "none"},
            **LOCKED,
            "quadlet": {"Unit": {"Requires": "matrix-database.service", "After": "matrix-database.service"}},
        }

    def _element(self) -> dict[str, Any]:
        settings = {
            "default_server_config": {"m.homeserver": {"base_url": self.url, "server_name": self.domain}},
            "disable_guests": True,
        }
        return {
            "image": ELEMENT,
            "networks": ["web"],
            "user": f"{USERS['element']}:0",
            "environment": {"ELEMENT_WEB_PORT": "8080"},
            "files": [{"target": "/app/config.json", "text": json.dumps(settings, indent=2)}],
            # Its entry point writes nginx's configuration.
            "tmpfs": ["/etc/nginx/conf.d:mode=1777", "/var/cache/nginx:mode=1777"],
            **LOCKED,
        }

    def _coturn(self) -> dict[str, Any]:
        user = USERS["coturn"]
        settings = {
            "listening-port": 3478,
            "min-port": RELAYS[0],
            "max-port": RELAYS[-1],
            "realm": f"matrix.{self.domain}",
        }
        lines = ["use-auth-secret", "no-cli", "no-tcp-relay", "no-tls", "no-dtls"]
        lines += [f"{key}={value}" for key, value in settings.items()]
        # Calls go between users, not to the node's own networks.
        lines += [f"denied-peer-ip={network[0]}-{network[-1]}" for network in map(ip_network, PRIVATE)]
        start = (
            "cp /etc/coturn/turn.conf /tmp/turn.conf; "
            "printf 'static-auth-secret=%s\\n' \"$(cat /run/secrets/turn-secret)\" >> /tmp/turn.conf; "
            "printf 'external-ip=%s\\n' \"$(detect-external-ip --ipv4)\" >> /tmp/turn.conf; "
            "exec turnserver -c /tmp/turn.conf --log-file=stdout"
        )
        return {
            "image": COTURN,
            "entrypoint": ["/bin/sh", "-ec"],
            "command": [start],
            "networks": ["host"],
            "user": f"{user}:{user}",
            "files": [{"target": "/etc/coturn/turn.conf", "text": "\n".join(lines) + "\n"}],
            "secrets": [{"name": "turn-secret", "uid": user, "gid": user}],
            "tmpfs": ["/var/lib/coturn:mode=1777"],
            **LOCKED,
        }

    def _restic(self, script: str, capabilities: list[str], **rest: Any) -> dict[str, Any]:
        volumes = [f"{DATA}/dump:/data/dump:z", f"{DATA}/media:/data/media:z"]
        environment = {
            "RESTIC_REPOSITORY": self.repository,
            "RESTIC_PASSWORD_FILE": "/run/secrets/backup-password",
            "RESTIC_CACHE_DIR": "/tmp/cache",
        }
        uses: list[Any] = ["backup-password"]
        if self.remote_backup:
            environment["AWS_ACCESS_KEY_ID"] = self.config.require("backup_s3_key", example="key")
            uses.append({"name": "backup-s3-secret", "type": "env", "target": "AWS_SECRET_ACCESS_KEY"})
        else:
            volumes.append(f"{DATA}/backup:/backup:z")
        return {
            "image": RESTIC,
            "entrypoint": ["/bin/sh", "-ec"],
            "command": [script],
            "networks": ["web"],
            "hostname": self.domain,
            "environment": environment,
            "secrets": uses,
            "volumes": volumes,
            "add_capabilities": capabilities,
            **LOCKED,
            **rest,
        }


def _listener(port: int, *resources: str) -> dict[str, Any]:
    return {
        "port": port,
        "type": "http",
        "tls": False,
        "x_forwarded": True,
        "bind_addresses": ["0.0.0.0"],
        "resources": [{"names": list(resources)}],
    }


def _with_data(options: dict[str, Any]) -> dict[str, Any]:
    """For what uses a folder of the data disk, which has to be there and belong to its user."""
    unit = {"Requires": "matrix-folders.service", "After": "matrix-folders.service"}
    return {**options, "quadlet": {"Unit": unit}}


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False)


_LOG = {
    "version": 1,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}
