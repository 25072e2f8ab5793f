"""AWS's stand-in, and what tests have to know of it: over moto's EC2 and S3, so that the API's own rules hold."""

from __future__ import annotations

import hashlib
import random
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.moto_api._internal import mock_random
from moto.server import ThreadedMotoServer

from tests.engine.cases import Case
from tests.engine.cloud import Cloud, CloudError, Machine, World, decoded

REGION = "eu-central-1"
LIMIT = 16384

T = TypeVar("T")


class Aws(Cloud):
    """AWS. What moto does not look after: availability zones of volumes, the size of user data."""

    package = "aws"
    limit = LIMIT

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        # The accounts of all servers of a process are the same ones.
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()
        # A region that was reset has its own network already; a new one gets it at the first request, and ids follow.
        ec2_backends[DEFAULT_ACCOUNT_ID].clear()
        session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=REGION)
        self.ec2: Any = session.client("ec2", endpoint_url=f"http://{host}:{port}")
        self.s3: Any = session.client("s3", endpoint_url=f"http://{host}:{port}")
        self._public: dict[str, str] = {}

    def close(self) -> None:
        self._server.stop()

    def begin(self, draw: random.Random) -> None:
        mock_random.seed(draw.getrandbits(64))

    def create(self, kind: str, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return self._api(lambda: super(Aws, self).create(kind, name, props))

    def delete(self, kind: str, id_: str) -> None:
        self._api(lambda: super(Aws, self).delete(kind, id_))

    def _api(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            raise CloudError(str(error)) from None

    def create_Vpc(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return self.ec2.create_vpc(CidrBlock=props["cidrBlock"])["Vpc"]["VpcId"], {}

    def delete_Vpc(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.delete_vpc(VpcId=id_)

    def create_Subnet(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        reply = self.ec2.create_subnet(
            VpcId=props["vpcId"], CidrBlock=props["cidrBlock"], AvailabilityZone=props["availabilityZone"]
        )
        return reply["Subnet"]["SubnetId"], {}

    def delete_Subnet(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.delete_subnet(SubnetId=id_)

    def create_InternetGateway(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_ = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=id_, VpcId=props["vpcId"])
        return id_, {}

    def delete_InternetGateway(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=props["vpcId"])
        self.ec2.delete_internet_gateway(InternetGatewayId=id_)

    def create_RouteTable(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_ = self.ec2.create_route_table(VpcId=props["vpcId"])["RouteTable"]["RouteTableId"]
        for route in props["routes"]:
            self.ec2.create_route(
                RouteTableId=id_, DestinationCidrBlock=route["cidrBlock"], GatewayId=route["gatewayId"]
            )
        return id_, {}

    def delete_RouteTable(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.delete_route_table(RouteTableId=id_)

    def create_RouteTableAssociation(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        reply = self.ec2.associate_route_table(RouteTableId=props["routeTableId"], SubnetId=props["subnetId"])
        return reply["AssociationId"], {}

    def delete_RouteTableAssociation(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.disassociate_route_table(AssociationId=id_)

    def create_SecurityGroup(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        reply = self.ec2.create_security_group(
            GroupName=props["name"], Description=props["description"], VpcId=props["vpcId"]
        )
        id_ = reply["GroupId"]
        rules = []
        for rule in props.get("ingress", []):
            permission: dict[str, Any] = {"IpProtocol": rule["protocol"]}
            if rule["protocol"] != "-1":
                permission |= {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
            if rule.get("self"):
                permission["UserIdGroupPairs"] = [{"GroupId": id_}]
            permission["IpRanges"] = [{"CidrIp": cidr} for cidr in rule.get("cidrBlocks", [])]
            permission["Ipv6Ranges"] = [{"CidrIpv6": cidr} for cidr in rule.get("ipv6CidrBlocks", [])]
            rules.append(permission)
        if rules:
            self.ec2.authorize_security_group_ingress(GroupId=id_, IpPermissions=rules)
        return id_, {}

    def delete_SecurityGroup(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.delete_security_group(GroupId=id_)

    def create_Eip(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        reply = self.ec2.allocate_address(Domain=props["domain"])
        # moto's public addresses lead nowhere.
        self._public[reply["AllocationId"]] = self.world.new_address()
        return reply["AllocationId"], {
            "allocationId": reply["AllocationId"], "publicIp": self._public[reply["AllocationId"]],
        }  # fmt: skip

    def delete_Eip(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.release_address(AllocationId=id_)

    def create_EipAssociation(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if existing := self.same("EipAssociation", props):
            return existing, {}
        reply = self.ec2.associate_address(
            AllocationId=props["allocationId"],
            InstanceId=props["instanceId"],
            AllowReassociation=props.get("allowReassociation", False),
        )
        self.world.lead(self._public[props["allocationId"]], props["instanceId"])
        return reply["AssociationId"], {}

    def delete_EipAssociation(self, id_: str, props: dict[str, Any]) -> None:
        addresses = self.ec2.describe_addresses(AllocationIds=[props["allocationId"]])["Addresses"]
        # One that was associated anew has another id; the provider takes the old one for gone.
        if addresses[0].get("AssociationId") == id_:
            self.ec2.disassociate_address(AssociationId=id_)
            for machine in self.world.machines.values():
                machine.addresses.discard(self._public[props["allocationId"]])

    def create_Volume(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        reply = self.ec2.create_volume(
            AvailabilityZone=props["availabilityZone"], Size=props["size"], Encrypted=props["encrypted"]
        )
        self.world.disks[reply["VolumeId"]] = props["size"]
        return reply["VolumeId"], {}

    def delete_Volume(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.delete_volume(VolumeId=id_)
        del self.world.disks[id_]

    def create_Snapshot(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.world.snapshots.append(props["volumeId"])
        return self.ec2.create_snapshot(VolumeId=props["volumeId"])["SnapshotId"], {}

    def create_VolumeAttachment(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if existing := self.same("VolumeAttachment", props):
            return existing, {}
        volume = self.resources["Volume", props["volumeId"]]
        instance = self.resources["Instance", props["instanceId"]]
        if volume["availabilityZone"] != instance["availabilityZone"]:
            raise CloudError("the volume is in another availability zone")
        self.ec2.attach_volume(Device=props["deviceName"], InstanceId=props["instanceId"], VolumeId=props["volumeId"])
        self.world.attach(props["volumeId"], props["instanceId"])
        return self.world.new_id("vai-"), {}

    def delete_VolumeAttachment(self, id_: str, props: dict[str, Any]) -> None:
        if not props.get("stopInstanceBeforeDetaching"):
            raise CloudError("the volume is in use by the instance's file system")
        self.ec2.stop_instances(InstanceIds=[props["instanceId"]])
        self.ec2.detach_volume(Device=props["deviceName"], InstanceId=props["instanceId"], VolumeId=props["volumeId"])
        self.world.detach(props["volumeId"])

    def create_BucketObjectv2(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.s3.put_object(Bucket=props["bucket"], Key=props["key"], Body=props["content"].encode())
        return props["key"], {"etag": hashlib.md5(props["content"].encode()).hexdigest()}

    def update_BucketObjectv2(self, id_: str, props: dict[str, Any]) -> None:
        self.create_BucketObjectv2("", props)

    def delete_BucketObjectv2(self, id_: str, props: dict[str, Any]) -> None:
        self.s3.delete_object(Bucket=props["bucket"], Key=props["key"])

    def create_Instance(self, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if props["ami"] in self.world.gone:
            raise CloudError(f"InvalidAMIID.NotFound: The image id '[{props['ami']}]' does not exist")
        reply = self.ec2.run_instances(
            ImageId=props["ami"],
            InstanceType=props["instanceType"],
            MinCount=1,
            MaxCount=1,
            SubnetId=props["subnetId"],
            SecurityGroupIds=props["vpcSecurityGroupIds"],
            UserData=self.check_user_data(props["userData"]),
            Placement={"AvailabilityZone": props["availabilityZone"]},
            MetadataOptions={"HttpTokens": props["metadataOptions"]["httpTokens"]},
            **({"PrivateIpAddress": props["privateIp"]} if "privateIp" in props else {}),
        )["Instances"][0]
        id_ = reply["InstanceId"]
        retained = self.ec2.describe_instance_attribute(InstanceId=id_, Attribute="userData")["UserData"]["Value"]
        address = self.world.new_address()
        self.world.start(Machine(name, id_, decoded(retained), props["ami"], {address}))
        return id_, {"publicIp": address, "privateIp": reply["PrivateIpAddress"]}

    def call_getAmi(self, arguments: dict[str, Any]) -> dict[str, Any]:
        (expected,) = arguments["filters"]
        assert expected["name"] == "image-id"
        (ami,) = expected["values"]
        if ami in self.world.gone:
            raise CloudError("Your query returned no results. Please change your search criteria and try again.")
        return {"id": ami, "imageId": ami}

    def call_getInstanceTypeOfferings(self, arguments: dict[str, Any]) -> dict[str, Any]:
        expected = {each["name"]: each["values"] for each in arguments["filters"]}
        offered = [size for size in expected["instance-type"] if size not in self.world.gone]
        return {"id": "found", "instanceTypes": offered, "locations": expected["location"], "locationTypes": []}

    def call_getInstances(self, arguments: dict[str, Any]) -> dict[str, Any]:
        (subnet,) = arguments["filters"]
        assert subnet["name"] == "subnet-id"
        ids = [
            id_
            for id_, props in self.of("Instance").items()
            if props["subnetId"] in subnet["values"] and arguments["instanceTags"].items() <= props["tags"].items()
        ]
        return {"id": "found", "ids": ids}

    def delete_Instance(self, id_: str, props: dict[str, Any]) -> None:
        self.ec2.terminate_instances(InstanceIds=[id_])
        # EC2 gives the address free; moto only once its own object of the instance is gone.
        if "privateIp" in props:
            for subnets in ec2_backends[DEFAULT_ACCOUNT_ID][REGION].subnets.values():
                for subnet in subnets.values():
                    subnet.del_subnet_ip(props["privateIp"])
        self.world.stop(id_)


CASE = Case(
    config={"aws:region": "eu-central-1"},
    other={
        "zones": ["eu-central-1b"],
        "vpc": {"id": "vpc-0abc", "subnets": {"eu-central-1a": "subnet-0a", "eu-central-1b": "subnet-0b"}},
        "instance_profile": "reader",
        "dns_zone": "Z0",
        "bucket": "configs",
        "tags": {"team": "web"},
    },
    other_for_disks={
        "zones": ["eu-central-1b", "eu-central-1a"],
        "cidr": "10.78.0.0/16",
        "vpc": {"id": "vpc-1", "subnets": {"eu-central-1b": "subnet-1"}},
        "instance_profile": "reader",
        "dns_zone": "Z1",
        "bucket": "configs",
        "tags": {"a": "b"},
    },
    other_config={"aws:region": ["us-east-1"]},
    hard="cidr",
    masked=["cidr"],
    unchanged=["ami"],
    cloud=Aws,
    disk_type="aws:ebs/volume:Volume",
    image=lambda release, digest: {REGION: f"ami-{digest[:17]}"},
    dns={"fleet:aws": {"dns_zone": "Z1"}},
)
