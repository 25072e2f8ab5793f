"""A Nomad cluster: servers that form it by themselves, and clients.

::

    server-0  server-1  server-2      data disk each: raft's state
        └─── mTLS, gossip ───┘        one is re-provisioned at a time, when all others are well
                 │
    client-0  client-1  ...           drained before it goes, new when it comes back

No node's config depends on another's existence: addresses are planned (on DigitalOcean, names are), so all is made in
one go. Raft's state lies on a data disk: a server that comes back is the peer that it was, and one that never was in a
cluster can be told from one that is out of it, which is what readiness asks (``health.sh``).

Every key of the stack's config is documented in README.md.
"""

from __future__ import annotations

import json
from typing import Any

from fleet.errors import UsageError
from fleet.spec import SpecConfig

API, HEALTH = 4646, 4650
MOST_SERVERS = 5
"""Names and addresses are set aside for so many, and agents try them all: going from 3 to 5 changes no config."""
SERVER_DAYS = ("Mon", "Wed", "Fri", "Tue", "Thu")
CLIENT_DAYS = ("Sat", "Sun", "Mon", "Tue", "Wed", "Thu", "Fri")
CERTIFICATE = "/run/secrets/certificate"
DATA = "/var/lib/nomad"


def spec(config: SpecConfig) -> dict[str, Any]:
    """The fleet: a group of servers, and one of clients.

    Raises:
        UsageError: The config lacks something, or says something that cannot be.
    """
    cluster = Cluster(config)
    made: dict[str, Any] = {
        "version": 1,
        "name": "nomad",
        "ssh_authorized_keys": config.texts("ssh_authorized_keys"),
        "secrets": cluster.secrets(),
        "groups": {"server": cluster.servers(), "client": cluster.clients()},
    }
    if cluster.planned:
        made["network"] = {"cidr": cluster.cidr}
    return made


class Cluster:
    """What the config makes of the cluster.

    Args:
        config: The stack's config.

    Raises:
        UsageError: It lacks something, or says something that cannot be.
    """

    def __init__(self, config: SpecConfig) -> None:
        self.config = config
        self.region = config.get("region", "global")
        self.datacenter = config.get("datacenter", "dc1")
        self.count = config.number("servers", 3)
        self.image = config.require("nomad_image", example="registry.example.org/nomad:1.6")
        self.planned = config.platform != "digitalocean"
        options = json.loads(config.get(f"fleet:{config.platform}") or "{}")
        self.cidr = config.get("cidr", "10.77.0.0/16" if not self.planned else "10.77.0.0/24")
        self.api_from = config.texts("api_from", example=["192.0.2.0/24"])
        if self.count not in (1, 3, 5):
            raise UsageError(f"`servers` is 1, 3 or 5, not {self.count}: an even number survives no more losses.")
        if not self.api_from:
            if config.platform not in ("qemu", "libvirt"):
                raise UsageError(
                    "`api_from` is empty: from where are Nomad's API, and the nodes' health, to be reached?",
                    fix="Set it, with your own address in it: `pulumi config set --path 'api_from[0]' CIDR`.",
                )
            self.api_from = ["0.0.0.0/0"]
        names = [f"server-{index}" for index in range(MOST_SERVERS)]
        if not self.planned:
            self.cidr = options.get("cidr", self.cidr)
            # `domain` is what `dns_zone` was called.
            zone = options.get("dns_zone") or options.get("domain", "example.org")
            names = [f"{name}.nomad.{zone}" for name in names]
        self.join = {"server_join": {"retry_join": names, "retry_interval": "10s"}}

    def secrets(self) -> dict[str, Any]:
        """Made by the first update. Certificates name their holder as Nomad wants it: ROLE.REGION.nomad."""

        def certificate(role: str) -> dict[str, Any]:
            names = [f"{role}.{self.region}.nomad", "localhost", "127.0.0.1"]
            return {
                "config": f"{role}_certificate",
                "generate": {"certificate": {"authority": "authority", "names": names}},
            }

        gossip = {"encoding": "base64", "prefix": '{"server": {"encrypt": "', "suffix": '"}}'}
        return {
            "authority": {"config": "authority", "generate": {"authority": {"name": "Nomad of this fleet"}}},
            "server-certificate": certificate("server"),
            "client-certificate": certificate("client"),
            "gossip": {"config": "gossip", "generate": gossip},
            "acl-token": {"config": "acl_token", "generate": {"encoding": "uuid", "bytes": 16}},
        }

    def servers(self) -> dict[str, Any]:
        """The group of servers."""
        patience = self.config.number("raft_multiplier", 1)
        agent = {
            **self._agent(),
            # Nomad stretches raft's times by the multiplier, but not how old a server's last contact may be until
            # autopilot calls it unhealthy (200ms): from 2 on, no server would ever be healthy.
            "autopilot": {"last_contact_threshold": f"{200 * patience}ms"},
            "server": {
                "enabled": True,
                # Of a new cluster. One that has formed takes further servers as they come.
                "bootstrap_expect": min(self.count, 3),
                "raft_multiplier": patience,
                **self.join,
            },
        }
        nomad = {
            **self._container(agent, "server"),
            "volumes": [f"{DATA}:{DATA}:Z"],
            "read_only": True,
            "no_new_privileges": True,
            "drop_capabilities": ["all"],
        }
        nomad["secrets"] = [*nomad["secrets"], {"name": "gossip", "target": "/etc/nomad/gossip.json"}]
        return {
            **self._group("server", self.count, SERVER_DAYS),
            **({"addresses_from": 10} if self.planned else {}),
            "capacity": MOST_SERVERS,
            "containers": {"nomad": nomad, "acl": self._acl()},
            "data_disks": {"nomad": {"size_gib": self.config.number("server_gib", 4), "mount": DATA}},
        }

    def clients(self) -> dict[str, Any]:
        """The group of clients. They keep nothing: one that comes back is a new one, and eligible."""
        deadline = self.config.number("drain_seconds", 60)
        volumes = {f"host-{name}": {"path": path} for name, path in self._host_volumes().items()}
        podman = {"volumes": {"enabled": False}, "socket_path": "unix:///run/podman/podman.sock"}
        drivers: dict[str, Any] = {"nomad-driver-podman": {"config": podman}}
        for name in self.config.texts("drivers"):
            drivers[name] = {"config": {"enabled": True}}
        agent = {
            **self._agent(),
            "plugin_dir": "/opt/nomad/plugins",
            "plugin": drivers,
            "leave_on_terminate": True,
            "client": {
                "enabled": True,
                "network_interface": self._own("name"),
                "drain_on_shutdown": {"deadline": f"{deadline}s"},
                "host_volume": volumes,
                **self.join,
            },
        }
        count = self.config.number("clients", 3)
        disk = self.config.number("client_gib", 0)
        mounts = [f"{path}:{path}" for path in self._host_volumes().values()]
        return {
            **self._group("client", count, CLIENT_DAYS),
            **({"addresses_from": 100} if self.planned else {}),
            "capacity": 100,
            "after": ["server"],
            "containers": {
                "nomad": {
                    **self._container(agent, "client"),
                    "volumes": [f"{DATA}:{DATA}", "/run/podman:/run/podman", "/sys/fs/cgroup:/sys/fs/cgroup", *mounts],
                    "stop_timeout": deadline + 10,
                    "quadlet": {
                        "Unit": {"Requires": "podman.socket", "After": "podman.socket"},
                        # It starts containers and mounts their file systems: it is root on the node.
                        "Container": {"SecurityLabelDisable": "true", "PodmanArgs": "--privileged --pid=host"},
                        "Service": {
                            "ExecStartPre": f"/usr/bin/mkdir -p {' '.join([DATA, *self._host_volumes().values()])}",
                            "TimeoutStopSec": str(deadline + 20),
                        },
                    },
                }
            },
            "data_disks": {"volumes": {"size_gib": disk, "mount": "/var/lib/volumes"}} if disk else {},
        }

    def _host_volumes(self) -> dict[str, str]:
        return {name: f"/var/lib/volumes/{name}" for name in self.config.texts("host_volumes")}

    def _group(self, role: str, count: int, days: tuple[str, ...]) -> dict[str, Any]:
        # Each on a day of its own: no two servers ever reboot for an update at once.
        updates = [
            {"use": "zincati", "strategy": "periodic", "windows": [{"days": [day], "start": "02:00", "minutes": 120}]}
            for day in days
        ]
        return {
            "count": count,
            "size": self.config.get(f"{role}_size", "small"),
            "snippets": [
                "health.bu",
                *self.config.texts(f"{role}_snippets"),
            ],
            "nodes": {index: {"snippets": [updates[index % len(days)]]} for index in range(count)},
            "ports": [{"number": port, "from": self.api_from} for port in (API, HEALTH)],
            "ready": [{"http": {"port": HEALTH}, "successes": 2}],
            "ready_timeout": self.config.number("ready_seconds", 900),
        }

    def _agent(self) -> dict[str, Any]:
        address = self._own("address")
        return {
            "region": self.region,
            "datacenter": self.datacenter,
            "data_dir": DATA,
            "bind_addr": "0.0.0.0",
            "advertise": {"http": address, "rpc": address, "serf": address},
            "disable_update_check": True,
            "consul": {"auto_advertise": False, "server_auto_join": False, "client_auto_join": False},
            "log_level": "WARN",
            "acl": {"enabled": True},
            "tls": {
                "http": True,
                "rpc": True,
                "ca_file": CERTIFICATE,
                "cert_file": CERTIFICATE,
                "key_file": CERTIFICATE,
                "verify_server_hostname": True,
                # ACLs guard the API, which people reach with a browser too.
                "verify_https_client": False,
            },
        }

    def _own(self, attribute: str) -> str:
        """The interface in the fleet's own network, whichever that is, as a template of go-sockaddr."""
        return f'{{{{ GetPrivateInterfaces | include "network" "{self.cidr}" | attr "{attribute}" }}}}'

    def _container(self, agent: dict[str, Any], role: str) -> dict[str, Any]:
        return {
            "image": self.image,
            "entrypoint": ["nomad", "agent", "-config", "/etc/nomad"],
            "networks": ["host"],
            "files": [{"target": "/etc/nomad/agent.json", "text": json.dumps(agent, indent=2)}],
            "secrets": [{"name": f"{role}-certificate", "target": CERTIFICATE}],
        }

    def _acl(self) -> dict[str, Any]:
        """Gives the cluster its first token, once it has a leader. Any server may; the cluster takes one only."""
        script = (
            "until nomad acl bootstrap /run/secrets/acl-token > /tmp/answer 2>&1 || "
            "grep -q 'already done' /tmp/answer; do sleep 5; done"
        )
        address = {"NOMAD_ADDR": "https://127.0.0.1:4646", "NOMAD_CACERT": CERTIFICATE}
        return {
            "image": self.image,
            "entrypoint": ["/bin/sh", "-c"],
            "command": [script],
            "networks": ["host"],
            "environment": address,
            "secrets": ["acl-token", {"name": "server-certificate", "target": CERTIFICATE}],
            "read_only": True,
            "no_new_privileges": True,
            "drop_capabilities": ["all"],
            "restart": "on-failure",
        }
