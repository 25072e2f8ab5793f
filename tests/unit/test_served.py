"""Dynamic providers as a preview's engine finds them in the command's process."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import dill
import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.dynamic import CheckResult, ConfigureRequest, ResourceProvider
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import provider_pb2_grpc

from fleet.dynamic.ready import ReadyProvider
from fleet.dynamic.tokens import PROVIDER, pickled
from fleet.ops.providers import served
from fleet.platforms.qemu import tokens


class Foreign(ResourceProvider):
    """A provider that is none of fleet's: it is configured before it is asked."""

    def configure(self, req: ConfigureRequest) -> None:
        self.region = req.config.get("region")

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return CheckResult({**news, "region": self.region}, [])


READY = {PROVIDER: pickled(ReadyProvider.state_name)}
DISK = {PROVIDER: pickled(tokens.DISK_PROVIDER), "path": "/nowhere/a.qcow2"}


def _struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """What an engine asks, which has providers of others attached already."""
    monkeypatch.setenv("PULUMI_DEBUG_PROVIDERS", "aws:1234")
    with served("web") as environment:
        aws, own = environment["PULUMI_DEBUG_PROVIDERS"].split(",")
        assert aws == "aws:1234"
        package, _, port = own.partition(":")
        assert package == "pulumi-python"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)


def test_a_preview_compares_what_is_known_with_what_is_not(engine: provider_pb2_grpc.ResourceProviderStub) -> None:
    engine.Attach(proto.PluginAttach(address="127.0.0.1:1"))
    engine.Configure(proto.ConfigureRequest())
    assert not engine.Cancel(empty_pb2.Empty()).ByteSize()
    olds = {**READY, "instance": "i-1", "address": "192.0.2.1", "endpoints": {}, "probes": []}
    same = engine.Diff(proto.DiffRequest(id="i-1", olds=_struct(olds), news=_struct(olds)))
    assert (same.changes, list(same.replaces)) == (proto.DiffResponse.DIFF_NONE, [])
    news = {**olds, "instance": rpc.UNKNOWN}
    checked = engine.Check(proto.CheckRequest(olds=_struct(olds), news=_struct(news)))
    assert checked.inputs["instance"] == rpc.UNKNOWN
    assert checked.inputs[PROVIDER] == READY[PROVIDER]
    other = engine.Diff(proto.DiffRequest(id="i-1", olds=_struct(olds), news=_struct(news)))
    assert (other.changes, list(other.replaces)) == (proto.DiffResponse.DIFF_SOME, ["instance"])


def test_a_preview_sees_what_is_gone_and_what_cannot_be(engine: provider_pb2_grpc.ResourceProviderStub) -> None:
    disk = {**DISK, "size_gib": 2}
    read = engine.Read(proto.ReadRequest(id=str(disk["path"]), properties=_struct(disk)))
    assert read.id == ""
    smaller = engine.Check(proto.CheckRequest(olds=_struct(disk), news=_struct({**disk, "size_gib": 1})))
    assert [failure.property for failure in smaller.failures] == ["size_gib"]


def test_an_error_is_told_without_a_traceback(engine: provider_pb2_grpc.ResourceProviderStub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        engine.Check(proto.CheckRequest(olds=_struct(DISK), news=_struct(DISK)))
    text = error.value.details()
    assert text.startswith("fleet.dynamic.provider.UnexpectedError: ")
    assert "Traceback" not in text


def test_a_provider_of_somebody_elses_is_configured(engine: provider_pb2_grpc.ResourceProviderStub) -> None:
    engine.Configure(proto.ConfigureRequest(args=_struct({"web:region": "here"})))
    asked = {PROVIDER: base64.b64encode(dill.dumps(Foreign())).decode()}
    checked = engine.Check(proto.CheckRequest(olds=_struct({}), news=_struct(asked)))
    assert checked.inputs["region"] == "here"
