"""libvirt's stand-in, and what tests have to know of it."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path
from typing import Any

from tests.engine.cases import Case
from tests.engine.cloud import Cloud, CloudError, Machine


class Libvirt(Cloud):
    """libvirt. A root volume that was booted from once is provisioned: Ignition would not run from it again."""

    package = "libvirt"
    from_file = True
    unique = ("Volume", "Domain", "Network", "Ignition")

    def virsh(self, command: str, *arguments: str) -> str:
        """What ``virsh`` does."""
        kinds = {"vol-delete": ("Volume", "Ignition"), "vol-path": ("Volume",), "domuuid": ("Domain",)}
        with self.world.lock:
            if command == "vol-info":
                return "" if arguments[-1] in self.of("Volume") else f"!failed to get vol '{arguments[-1]}'"
            for kind, id_ in list(self.resources):
                if kind in kinds.get(command, ()) and self.resources[kind, id_]["name"] == arguments[-1]:
                    if command != "vol-delete":
                        return id_
                    self.delete(kind, id_)
        return ""

    def install(self, folder: Path) -> None:
        """Put a ``virsh`` into a folder that speaks to this."""
        libvirt = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(libvirt.virsh(*arguments).encode())

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        script = folder / "virsh"
        script.write_text(
            f"#!{sys.executable}\nimport json, sys, urllib.request\n"
            # After `--connect URI --quiet`.
            f"url, asked = 'http://127.0.0.1:{self._server.server_port}', json.dumps(sys.argv[4:]).encode()\n"
            "answer = urllib.request.urlopen(url, asked).read().decode()\n"
            "sys.exit('error: ' + answer[1:]) if answer.startswith('!') else print(answer)\n"
        )
        script.chmod(0o755)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create_Volume(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_ = f"/pool/{props['name']}"
        base = props.get("baseVolumeId")
        if base and base not in self.of("Volume"):
            raise CloudError(f"there is no volume {base}")
        if "source" in props and not Path(props["source"]).exists():
            raise CloudError(f"Error while determining image type for {props['source']}: no such file or directory")
        if not base and "source" not in props:
            self.world.disks[id_] = int(props["size"]) >> 30
        return id_, {"provisioned": False}

    def delete_Volume(self, id_: str, props: dict[str, Any]) -> None:
        if any(id_ == other.get("baseVolumeId") for other in self.of("Volume").values()):
            raise CloudError(f"volume {id_} is the base of another")
        if any(id_ == disk["volumeId"] for domain in self.of("Domain").values() for disk in domain["disks"]):
            raise CloudError(f"volume {id_} is in use")
        self.world.disks.pop(id_, None)

    def create_Ignition(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return f"/pool/{props['name']};{self.world.new_id('')}", {}

    def create_Domain(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        root, *data = (disk["volumeId"] for disk in props["disks"])
        volume = self.resources["Volume", root]
        if volume["provisioned"]:
            raise CloudError(f"{root} is provisioned already")
        volume["provisioned"] = True
        content = self.check_user_data(self.resources["Ignition", props["coreosIgnition"]]["content"])
        (nic,) = props["networkInterfaces"]
        # What the node gives itself is no property of the domain; its MAC address is made of it.
        addresses = {".".join(str(int(byte, 16)) for byte in nic["mac"].split(":")[2:])}
        for machine in self.world.machines.values():
            if machine.addresses & addresses:
                raise CloudError(f"{addresses} is in use")
        id_ = self.world.new_id("domain-")
        self.world.start(Machine(name, id_, content, volume["baseVolumeId"], addresses))
        for disk in data:
            self.world.attach(disk, id_)
        return id_, {}

    def delete_Network(self, id_: str, props: dict[str, Any]) -> None:
        """libvirt takes a network away from running domains, which nobody reaches from then on."""
        for domain, attached in self.of("Domain").items():
            if any(nic.get("networkId") == id_ for nic in attached["networkInterfaces"]):
                self.world.machines[domain].addresses.clear()

    def read_Network(self, props: dict[str, Any]) -> dict[str, Any]:
        return {**props, "dhcp": {"enabled": True}}

    def read_Domain(self, props: dict[str, Any]) -> dict[str, Any]:
        """Without a lease, the provider finds no addresses."""
        (nic,) = props["networkInterfaces"]
        return {**props, "networkInterfaces": [{**nic, "addresses": []}]}

    def delete_Domain(self, id_: str, props: dict[str, Any]) -> None:
        self.world.stop(id_)

    def copies(self) -> list[tuple[str, str]]:
        return [key for key, props in self.resources.items() if key[0] == "Volume" and "source" in props]


CASE = Case(
    config={"libvirt:uri": "qemu:///system", "fleet:libvirt": {"cidr": "127.78.0.0/16"}},
    other={
        "pool": "fast",
        "cidr": "127.79.0.0/16",
        "bridge": "br0",
        "gateway": "127.78.9.9",
        "machine": "q35",
        "firmware": "/usr/share/OVMF/OVMF_CODE.fd",
        "emulator": "/usr/bin/qemu-system-x86_64",
    },
    other_for_disks={
        "pool": "other",
        "cidr": "127.79.0.0/16",
        "bridge": "br0",
        "gateway": "127.78.0.2",
        "machine": "q35",
        "firmware": "/firmware",
        "emulator": "/qemu",
    },
    other_config={"libvirt:uri": ["qemu+ssh://other/system"]},
    hard="name",
    masked=["cidr"],
    cloud=Libvirt,
    disk_type="libvirt:index/volume:Volume",
)
