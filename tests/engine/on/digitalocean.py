"""DigitalOcean's stand-in, and what tests have to know of it."""

from __future__ import annotations

from typing import Any

from tests.engine.cases import Case
from tests.engine.cloud import Cloud, CloudError, Machine


class DigitalOcean(Cloud):
    """DigitalOcean."""

    package = "digitalocean"
    limit = 65536
    unique = ("Volume", "Firewall", "Vpc")

    def create_CustomImage(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if props["url"] in self.world.gone:
            raise CloudError(f"the image at {props['url']} could not be imported")
        number = int(self.world.new_id(""), 16)
        return str(number), {"imageId": number}

    def create_ReservedIp(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        address = self.world.new_address()
        return address, {"ipAddress": address}

    def create_Volume(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_ = self.world.new_id("volume-")
        self.world.disks[id_] = int(props["size"])
        return id_, {}

    def delete_Volume(self, id_: str, props: dict[str, Any]) -> None:
        del self.world.disks[id_]

    def create_VolumeSnapshot(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.world.snapshots.append(props["volumeId"])
        return self.world.new_id("snapshot-"), {}

    def create_Tag(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return props["name"], {}

    def create_Firewall(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        for tag in props["tags"]:
            if tag not in self.of("Tag"):
                raise CloudError(f"there is no tag {tag}")
        return self.world.new_id("firewall-"), {}

    def create_Droplet(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if not props.get("sshKeys"):
            raise CloudError("custom images need an SSH key")
        if props["image"] not in self.of("CustomImage"):
            raise CloudError(f"there is no image {props['image']}")
        id_ = str(int(self.world.new_id(""), 16))
        address = self.world.new_address()
        self.world.start(Machine(name, id_, self.check_user_data(props["userData"]), props["image"], {address}))
        return id_, {"ipv4Address": address, "ipv4AddressPrivate": self.world.new_address()}

    def call_getImage(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if str(arguments["id"]) not in self.of("CustomImage"):
            raise CloudError(
                f"GET https://api.digitalocean.com/v2/images/{arguments['id']}: 404 The resource you were accessing "
                "could not be found."
            )
        return {"id": arguments["id"], "status": "available"}

    def call_getSizes(self, arguments: dict[str, Any]) -> dict[str, Any]:
        (slug,) = arguments["filters"][0]["values"]
        listed = [{"slug": slug, "available": slug not in self.world.gone, "regions": ["fra1", "ams3"]}]
        return {"id": "found", "sizes": listed}

    def call_getDroplets(self, arguments: dict[str, Any]) -> dict[str, Any]:
        expected = {each["key"]: each["values"] for each in arguments["filters"]}
        droplets = [
            {"id": int(id_), "tags": props["tags"]}
            for id_, props in self.of("Droplet").items()
            if props["name"] in expected["name"] and props["vpcUuid"] in expected["vpc_uuid"]
        ]
        return {"id": "found", "droplets": droplets}

    def delete_Droplet(self, id_: str, props: dict[str, Any]) -> None:
        if self.world.machines[id_].disks:
            raise CloudError(f"droplet {id_} has volumes attached")
        self.world.stop(id_)

    def create_VolumeAttachment(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if existing := self.same("VolumeAttachment", props):
            return existing, {}
        self.world.attach(props["volumeId"], str(int(props["dropletId"])))
        return self.world.new_id("attachment-"), {}

    def delete_VolumeAttachment(self, id_: str, props: dict[str, Any]) -> None:
        self.world.detach(props["volumeId"])

    def create_ReservedIpAssignment(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if existing := self.same("ReservedIpAssignment", props):
            return existing, {}
        self.world.lead(props["ipAddress"], str(int(props["dropletId"])))
        return self.world.new_id("assignment-"), {}

    def read_ReservedIpAssignment(self, props: dict[str, Any]) -> dict[str, Any] | None:
        droplet = self.world.at(props["ipAddress"])
        return props if droplet and droplet.id == str(int(props["dropletId"])) else None

    def delete_ReservedIpAssignment(self, id_: str, props: dict[str, Any]) -> None:
        """The provider asks which droplet has the address, and falls over if none has."""
        droplet = self.world.at(props["ipAddress"])
        if droplet is None:
            raise CloudError("invalid memory address or nil pointer dereference")
        if droplet.id == str(int(props["dropletId"])):
            droplet.addresses.remove(props["ipAddress"])

    def copies(self) -> list[tuple[str, str]]:
        return [key for key in self.resources if key[0] == "CustomImage"]


CASE = Case(
    config={"fleet:digitalocean": {"region": "fra1", "ssh_keys": ["1"]}},
    other={"region": "ams3", "ssh_keys": ["2"], "vpc": "0b0b", "dns_zone": "example.org", "tags": ["team"]},
    other_for_disks={
        "region": "ams3",
        "ssh_keys": ["2"],
        "cidr": "10.78.0.0/16",
        "vpc": "0a-1",
        "dns_zone": "example.org",
        "tags": ["a"],
    },
    hard="cidr",
    masked=["cidr"],
    refused=["addresses_from", "network"],
    unchanged=["dropletAgent", "monitoring", "sshKeys"],
    cloud=DigitalOcean,
    disk_type="digitalocean:index/volume:Volume",
    dns={"fleet:digitalocean": {"region": "fra1", "ssh_keys": ["1"], "dns_zone": "example.org"}},
)
