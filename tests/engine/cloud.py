"""Stand-ins for cloud providers: Pulumi provider plugins over a world in memory, attached to the real engine.

What they check comes from the facts of the real providers' schemas (``facts/``: inputs, types, what is required, what
replaces on change): an input that is unknown, missing or of a wrong type fails. Beyond it they have the rules of the
platforms that matter here: a disk is attached to one machine, an address leads to one, names are taken, things in use
stay, user data has a limit. Every machine answers HTTP at its addresses, all of which are loopback ones, and tells how
it is at its report's port.
"""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import random
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import struct_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine.reports import Troubles, port_of, report_of, text_of

FACTS = Path(__file__).with_name("facts")
PORT = 8080
TLS_PORTS = (443, 8448)
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_PYTHON: dict[str, Any] = {
    "string": str,
    "integer": (int, float),
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


class CloudError(Exception):
    """What a platform says no with."""


@dataclass
class Machine:
    """A machine that runs."""

    node: str
    id: str
    user_data: str
    image: str
    addresses: set[str] = field(default_factory=set)
    disks: set[str] = field(default_factory=set)


class World:
    """Machines, the addresses that lead to them, and what happened.

    Args:
        tls: A file with a certificate and its key, where machines are to answer HTTPS too, at :data:`TLS_PORTS`.
        port: Where they answer HTTP.
    """

    def __init__(self, tls: Path | None = None, port: int = PORT) -> None:
        self._tls, self._port = tls, port
        self.machines: dict[str, Machine] = {}
        self.disks: dict[str, int] = {}
        self.snapshots: list[str] = []
        self.log: list[str] = []
        self.sick: set[str] = set()
        self.troubles: dict[str, Troubles] = {}
        """By node, what its report says that is not well."""
        self.gone: set[str] = set()
        """Images, and places, that are not there any more."""
        self.asked: list[str] = []
        """Functions of providers that were called."""
        self.broken = ""
        """What every function of a provider fails with."""
        self._draw = random.Random(0)
        self._drawn: set[str] = set()
        self._creations: Counter[str] = Counter()
        self._servers: dict[tuple[str, int], http.server.HTTPServer] = {}
        self.lock = threading.RLock()

    @contextmanager
    def creating(self, *what: Any) -> Iterator[random.Random]:
        """Ids and addresses that are drawn meanwhile follow from what is created, and from how often it was, but not
        from what else there is: so what a state names can be created once more, in any order, under the same ids.

        Yields:
            What else is to be drawn from.
        """
        key = json.dumps(what, sort_keys=True)
        self._creations[key] += 1
        self._draw = random.Random(f"{key} {self._creations[key]}")
        yield self._draw

    def new_id(self, prefix: str) -> str:
        return self._new(lambda: f"{prefix}{self._draw.getrandbits(31):08x}")

    def new_address(self) -> str:
        return self._new(lambda: f"127.90.{self._draw.randrange(250)}.{self._draw.randrange(250) + 1}")

    def _new(self, draw: Callable[[], str]) -> str:
        while (drawn := draw()) in self._drawn:
            pass
        self._drawn.add(drawn)
        return drawn

    def start(self, machine: Machine) -> None:
        self.machines[machine.id] = machine
        self.log.append(machine.node)
        for address in list(machine.addresses):
            self.lead(address, machine.id)

    def lead(self, address: str, machine: str) -> None:
        """Have an address lead to a machine, and to no other."""
        for other in self.machines.values():
            other.addresses.discard(address)
        self.machines[machine].addresses.add(address)
        report = port_of(self.machines[machine].user_data)
        for port in (self._port, *(TLS_PORTS if self._tls else ()), *([report] if report else [])):
            if (address, port) in self._servers:
                continue
            handler = self._handler(address, report=port == report)
            server = http.server.ThreadingHTTPServer((address, port), handler)
            if self._tls and port in TLS_PORTS:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._tls)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self._servers[address, port] = server
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def at(self, address: str) -> Machine | None:
        """The machine that an address leads to."""
        return next((m for m in list(self.machines.values()) if address in m.addresses), None)

    def attach(self, disk: str, machine: str) -> None:
        for other in self.machines.values():
            if disk in other.disks:
                raise CloudError(f"disk {disk} is attached to {other.id}")
        self.machines[machine].disks.add(disk)

    def detach(self, disk: str) -> None:
        for machine in self.machines.values():
            machine.disks.discard(disk)

    def stop(self, machine: str) -> None:
        self.machines.pop(machine, None)

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def started(self) -> list[str]:
        """The nodes started since the last question."""
        names, self.log = self.log, []
        return names

    def _handler(self, address: str, *, report: bool) -> type[http.server.BaseHTTPRequestHandler]:
        world = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                machine = world.at(address)
                if machine is None:
                    self.close_connection = True
                    return
                if report:
                    told = report_of(machine.user_data, machine.node, world.troubles.get(machine.node, {}))
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(json.dumps(told).encode())
                    return
                well = "sick" not in text_of(machine.user_data) and machine.node not in world.sick
                self.send_response(200 if well else 503)
                self.end_headers()

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002
                pass

        return Handler


class Cloud:
    """What one platform does with resources. Methods are named by type: ``create_Instance``, ``delete_Instance``, ...;
    a type without one is only remembered.

    Args:
        world: Where.
    """

    package = ""
    limit: int | None = None
    unique: tuple[str, ...] = ()
    """Types of which two cannot have one name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.resources: dict[tuple[str, str], dict[str, Any]] = {}

    from_file = False
    """Whether the platform takes its image from this machine."""

    def install(self, folder: Path) -> None:
        """Put commands of the platform's into a folder."""

    def copies(self) -> list[tuple[str, str]]:
        """The resources that are copies of the image."""
        return []

    def close(self) -> None:
        """End what serves it."""

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """All resources of a kind."""
        return {id_: props for (k, id_), props in self.resources.items() if k == kind}

    def same(self, kind: str, props: dict[str, Any]) -> str | None:
        """The id of what was made of the same inputs: providers attach nothing twice."""
        existing = self.of(kind).items()
        return next((id_ for id_, other in existing if other.items() >= props.items()), None)

    def create(self, kind: str, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if kind in self.unique and any(other["name"] == props["name"] for other in self.of(kind).values()):
            raise CloudError(f"there is a {kind} of the name {props['name']} already")
        handler: Callable[..., tuple[str, dict[str, Any]]] | None = getattr(self, f"create_{kind}", None)
        with self.world.creating(kind, name, props) as draw:
            self.begin(draw)
            id_, outputs = handler(name, props) if handler else (self.world.new_id(f"{kind.lower()}-"), {})
        self.resources[kind, id_] = {**props, **outputs}
        return id_, self.resources[kind, id_]

    def begin(self, draw: random.Random) -> None:
        """Have what else gives ids draw from this for the next resource."""

    def restore(self, resources: Sequence[Mapping[str, Any]]) -> None:
        """Create what a state says is there.

        Args:
            resources: The state's resources, whose values are plain.
        """
        own = [each for each in resources if each["type"].startswith(f"{self.package}:")]
        for resource in own:
            kind, id_ = _kind(resource["urn"]), resource["id"]
            inputs = {key: value for key, value in resource["inputs"].items() if not key.startswith("__")}
            # What was replaced by its like is not the first of its kind.
            for _ in range(3 if hasattr(self, f"create_{kind}") else 0):
                created, _ = self.create(kind, resource["urn"].rpartition("::")[2], _whole(inputs))
                if created == id_:
                    break
                self.delete(kind, created)
            else:
                assert not hasattr(self, f"create_{kind}"), f"the stand-in does not create {kind} {id_} as it was"
        for resource in own:
            self.resources[_kind(resource["urn"]), resource["id"]] = _whole(resource["outputs"])
        self.world.log.clear()

    def update(self, kind: str, id_: str, props: dict[str, Any]) -> dict[str, Any]:
        handler = getattr(self, f"update_{kind}", None)
        if handler:
            handler(id_, props)
        self.resources[kind, id_].update(props)
        return self.resources[kind, id_]

    def delete(self, kind: str, id_: str) -> None:
        handler = getattr(self, f"delete_{kind}", None)
        if (kind, id_) in self.resources:
            if handler:
                handler(id_, self.resources[kind, id_])
            del self.resources[kind, id_]

    def check_user_data(self, text: str) -> str:
        if self.limit is not None and len(text) > self.limit:
            raise CloudError(f"user data of {len(text)} bytes is more than {self.limit}")
        json.loads(text)
        return text


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """A provider plugin over a cloud.

    Args:
        cloud: The cloud.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        facts = json.loads((FACTS / f"{cloud.package}.json").read_text())
        self._resources, self._types = facts["resources"], facts["types"]

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="99.0.0")

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        return Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse()

    def Check(self, request: Any, context: Any) -> Any:
        facts, news = self._facts(request.urn), _values(request.news)
        name = request.urn.rpartition("::")[2]
        failures = [
            provider_pb2.CheckFailure(property=key, reason=reason)
            for key, reason in self._wrong(facts["inputs"], facts.get("required", []), news)
        ]
        if "name" in facts["inputs"] and "name" not in news:
            news["name"] = _values(request.olds).get("name") or f"{name}-{request.randomSeed.hex()[:7]}"
        return provider_pb2.CheckResponse(inputs=_struct(news), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        olds, news = _values(request.old_inputs), _values(request.news)
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key))
        inputs = self._facts(request.urn)["inputs"]
        replaces = [key for key in changed if self._replaces(inputs[key], olds.get(key), news.get(key))]
        if "userData" in changed and news.get("userDataReplaceOnChange"):
            replaces.append("userData")
        kinds = provider_pb2.PropertyDiff.Kind
        paths = [path for key in changed for path in self._paths(inputs[key], olds.get(key), news.get(key), key)]
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
            hasDetailedDiff=True,
            detailedDiff={
                path: provider_pb2.PropertyDiff(
                    kind=kinds.UPDATE_REPLACE if re.split(r"[.\[]", path)[0] in replaces else kinds.UPDATE
                )
                for path in paths
            },
        )

    def Invoke(self, request: Any, context: Any) -> Any:
        name = request.tok.rpartition(":")[2]
        function = getattr(self._cloud, f"call_{name}")
        self._cloud.world.asked.append(name)
        with self._reported(context):
            if self._cloud.world.broken:
                raise CloudError(self._cloud.world.broken)
            return provider_pb2.InvokeResponse(**{"return": _struct(function(_values(request.args)))})

    def Create(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        name = request.urn.rpartition("::")[2]
        with self._reported(context):
            id_, props = self._cloud.create(_kind(request.urn), name, _values(request.properties))
            return provider_pb2.CreateResponse(id=id_, properties=_struct(props))

    def Read(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            resource = self._cloud.resources.get((_kind(request.urn), request.id))
            if resource is None:
                return provider_pb2.ReadResponse()
            handler = getattr(self._cloud, f"read_{_kind(request.urn)}", None)
            resource = handler(resource) if handler else resource
            if resource is None:
                del self._cloud.resources[_kind(request.urn), request.id]
                return provider_pb2.ReadResponse()
            known = self._facts(request.urn)["inputs"]
            inputs = _values(request.inputs) or {key: value for key, value in resource.items() if key in known}
            return provider_pb2.ReadResponse(
                id=request.id, properties=_struct(resource), inputs=_struct(_as_input(inputs, resource))
            )

    def Update(self, request: Any, context: Any) -> Any:
        if request.preview:
            # What the provider itself has given the resource stays as it is.
            return provider_pb2.UpdateResponse(properties=_struct({**_values(request.olds), **_values(request.news)}))
        with self._reported(context):
            props = self._cloud.update(_kind(request.urn), request.id, _values(request.news))
            return provider_pb2.UpdateResponse(properties=_struct(props))

    def Delete(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            self._cloud.delete(_kind(request.urn), request.id)
            return Empty()

    def _facts(self, urn: str) -> dict[str, Any]:
        type_ = urn.split("::")[2].rpartition("$")[2]
        facts: dict[str, Any] = self._resources[type_]
        return facts

    @contextmanager
    def _reported(self, context: Any) -> Iterator[None]:
        with self._cloud.world.lock:
            try:
                yield
            except CloudError as error:
                context.abort(grpc.StatusCode.UNKNOWN, str(error))
            except KeyError as error:
                context.abort(grpc.StatusCode.UNKNOWN, f"the stand-in lacks {error}")

    def _wrong(
        self, known: Mapping[str, Any], required: list[str], values: Mapping[str, Any], path: str = ""
    ) -> Iterator[tuple[str, str]]:
        for key in required:
            if key not in values:
                yield path + key, "is required"
        for key, value in values.items():
            if key not in known:
                yield path + key, "is not known"
            else:
                yield from self._mistyped(known[key], value, path + key)

    def _mistyped(self, fact: Mapping[str, Any], value: Any, path: str) -> Iterator[tuple[str, str]]:
        if value == UNKNOWN:
            return
        if "ref" in fact:
            type_ = self._types[fact["ref"]]
            if not isinstance(value, dict):
                yield path, f"is {value!r}, not an object"
            else:
                yield from self._wrong(type_["properties"], type_["required"], value, f"{path}.")
            return
        expected = _PYTHON[fact["type"]]
        if not isinstance(value, expected) or (expected is not bool and isinstance(value, bool)):
            yield path, f"is {value!r}, not {fact['type']}"
        elif fact["type"] == "array":
            for index, item in enumerate(value):
                yield from self._mistyped(fact.get("items", {"type": "string"}), item, f"{path}[{index}]")

    def _paths(self, fact: Mapping[str, Any], old: Any, new: Any, path: str) -> Iterator[str]:
        """The paths of what differs between two values of an input, as deep as both have it."""
        if old == new:
            return
        if fact.get("type") == "array" and "items" in fact and isinstance(old, list) and isinstance(new, list):
            for index, (one, other) in enumerate(itertools.zip_longest(old, new)):
                yield from self._paths(fact["items"], one, other, f"{path}[{index}]")
        elif "ref" in fact and isinstance(old, dict) and isinstance(new, dict):
            inner = self._types[fact["ref"]]["properties"]
            for key in sorted({*old, *new}):
                yield from self._paths(inner[key], old.get(key), new.get(key), f"{path}.{key}")
        else:
            yield path

    def _replaces(self, fact: Mapping[str, Any], old: Any, new: Any) -> bool:
        """Whether a change of an input replaces the resource: by its own fact, or by one of what is in it."""
        if old == new:
            return False
        if new == UNKNOWN:
            return bool(fact.get("replaces"))
        if fact.get("replaces"):
            return True
        if fact.get("type") == "array" and "items" in fact:
            pairs = itertools.zip_longest(old or [], new or [])
            return any(self._replaces(fact["items"], one, other) for one, other in pairs)
        if "ref" in fact:
            inner = self._types[fact["ref"]]["properties"]
            old, new = old or {}, new or {}
            return any(self._replaces(inner[key], old.get(key), new.get(key)) for key in {*old, *new})
        return False


def _kind(urn: str) -> str:
    return urn.split("::")[2].rpartition(":")[2]


def _values(struct: Any) -> dict[str, Any]:
    values = {key: value for key, value in MessageToDict(struct).items() if not key.startswith("__")}
    return _whole(values)  # type: ignore[no-any-return]


def _whole(value: Any) -> Any:
    """Numbers of a protobuf struct are floating-point ones."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _struct(values: Mapping[str, Any]) -> Any:
    struct = struct_pb2.Struct()
    struct.update(dict(values))
    return struct


@contextmanager
def serving(*clouds: Cloud) -> Iterator[str]:
    """Serve plugins; yields what PULUMI_DEBUG_PROVIDERS is to be."""
    servers, attached = [], []
    for cloud in clouds:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(Plugin(cloud), server)
        attached.append(f"{cloud.package}:{server.add_insecure_port('127.0.0.1:0')}")
        server.start()
        servers.append(server)
    yield ",".join(attached)
    for server in servers:
        server.stop(None)


def decoded(text: str) -> str:
    """User data as EC2 keeps it."""
    return base64.b64decode(text).decode()


def _as_input(inputs: Any, state: Any) -> Any:
    """Inputs as bridged providers give them back: what was read, as far as the inputs had it."""
    if isinstance(inputs, dict) and isinstance(state, dict):
        return {key: _as_input(value, state[key]) for key, value in inputs.items() if key in state}
    if isinstance(inputs, list) and isinstance(state, list) and len(inputs) == len(state):
        return [_as_input(*pair) for pair in zip(inputs, state, strict=True)]
    return state
