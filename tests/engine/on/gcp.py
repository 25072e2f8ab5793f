"""Google Cloud's stand-in, and what tests have to know of it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from tests.engine.cases import Case
from tests.engine.cloud import Cloud, CloudError, Machine


class Gcp(Cloud):
    """Google Cloud."""

    package = "gcp"
    limit = 262144
    unique = ("Network", "Subnetwork", "Firewall", "Address", "Disk", "Instance")

    def create_Address(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return f"addresses/{props['name']}", {"address": self.world.new_address()}

    def create_Disk(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_ = f"projects/shop/zones/{props['zone']}/disks/{props['name']}"
        self.world.disks[id_] = int(props["size"])
        return id_, {}

    def delete_Disk(self, id_: str, props: dict[str, Any]) -> None:
        if any(id_ in machine.disks for machine in self.world.machines.values()):
            raise CloudError(f"disk {id_} is in use")
        del self.world.disks[id_]

    def create_Snapshot(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.world.snapshots.append(props["sourceDisk"])
        return self.world.new_id("snapshot-"), {}

    def create_Instance(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        (nic,) = props["networkInterfaces"]
        disks = props.get("attachedDisks", [])
        for disk in disks:
            if f"/{props['zone']}/" not in disk["source"]:
                raise CloudError(f"disk {disk['source']} is in another zone")
        expected = {access["natIp"] for access in nic.get("accessConfigs", [])} | {nic.get("networkIp", "")} - {""}
        for machine in self.world.machines.values():
            if taken := expected & machine.addresses:
                raise CloudError(f"address {taken} is in use by {machine.id}")
        if not re.fullmatch(r"projects/fedora-coreos-cloud/global/images/fedora-coreos-[\w-]+",
                            props["bootDisk"]["initializeParams"]["image"]):  # fmt: skip
            raise CloudError("there is no such image")
        self.call_getImage({"name": props["bootDisk"]["initializeParams"]["image"].rpartition("/")[2]})
        number = self.world.new_id("")
        data = self.check_user_data(props["metadata"]["user-data"])
        if props["metadata"].get("block-project-ssh-keys") != "true":
            raise CloudError("whoever has a key of the project may log in")
        image = props["bootDisk"]["initializeParams"]["image"]
        self.world.start(Machine(name, number, data, image, expected))
        for disk in disks:
            self.world.attach(disk["source"], number)
        private = nic.get("networkIp") or self.world.new_address()
        id_ = f"projects/shop/zones/{props['zone']}/instances/{props['name']}"
        fingerprint = base64.b64encode(hashlib.sha256(data.encode()).digest()).decode()
        return id_, {
            "instanceId": number,
            "networkInterfaces": [{**nic, "networkIp": private}],
            "metadataFingerprint": fingerprint,
        }

    def create_BucketObject(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        md5 = hashlib.md5(props["content"].encode()).digest()
        return f"{props['bucket']}-{props['name']}", {"md5hash": base64.b64encode(md5).decode()}

    def delete_Instance(self, id_: str, props: dict[str, Any]) -> None:
        self.world.stop(props["instanceId"])

    def call_getImage(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = arguments["name"]
        if name in self.world.gone:
            raise CloudError(
                "googleapi: Error 404: The resource 'projects/fedora-coreos-cloud/global/images/"
                f"{name}' was not found, notFound"
            )
        return {"id": name, "name": name, "project": "fedora-coreos-cloud", "status": "READY"}

    def call_getMachineTypes(self, arguments: dict[str, Any]) -> dict[str, Any]:
        size = arguments["filter"].split('"')[1]
        listed = [] if size in self.world.gone else [{"name": size}]
        return {"id": "found", "zone": arguments["zone"], "machineTypes": listed}


CASE = Case(
    config={"gcp:project": "shop", "gcp:zone": "europe-west3-a"},
    other={
        "zones": ["europe-west3-b"],
        "vpc": {"network": "shared", "subnetwork": "shared-a"},
        "disk_type": "pd-ssd",
        "service_account": "reader@shop.iam.gserviceaccount.com",
        "bucket": "configs",
        "dns_zone": "zone",
        "tags": {"team": "web"},
    },
    other_for_disks={
        "zones": ["europe-west3-b", "europe-west3-a"],
        "cidr": "10.78.0.0/16",
        "vpc": {"network": "n", "subnetwork": "s"},
        "disk_type": "pd-ssd",
        "service_account": "reader@shop",
        "bucket": "configs",
        "dns_zone": "zone",
        "tags": {"a": "b"},
    },
    other_config={"gcp:project": ["bakery"], "gcp:zone": ["us-east1-b", "europe-west3-b"]},
    hard="zones",
    masked=["cidr"],
    cloud=Gcp,
    disk_type="gcp:compute/disk:Disk",
    image=lambda release, digest: {
        "project": "fedora-coreos-cloud",
        "name": f"fedora-coreos-{release.replace('.', '-')}",
    },
    dns={"fleet:gcp": {"dns_zone": "home"}},
)
