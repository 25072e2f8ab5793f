"""Dynamic providers as a preview's engine finds them in the command's process."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import provider_pb2_grpc

from fleet.dynamic.ready import ReadyProvider
from fleet.dynamic.tokens import PROVIDER, pickled
from fleet.ops.providers import served
from fleet.platforms.qemu import tokens

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


class Calls:
    """Its pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("function", [os.mkdir, Path.mkdir, eval], ids=lambda function: function.__qualname__)
def test_a_pickle_that_another_process_sends_calls_nothing(
    function: Callable[..., Any], engine: provider_pb2_grpc.ResourceProviderStub, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    argument = {eval: f"__import__('os').mkdir({str(folder)!r})", Path.mkdir: folder}.get(function, str(folder))
    hostile = base64.b64encode(pickle.dumps(Calls(function, argument))).decode()
    for ask, request in (
        (engine.Check, proto.CheckRequest(news=_struct({PROVIDER: hostile}))),
        (engine.Diff, proto.DiffRequest(id="a", news=_struct({PROVIDER: hostile}))),
        (engine.Read, proto.ReadRequest(id="a", properties=_struct({PROVIDER: hostile}))),
    ):
        with pytest.raises(grpc.RpcError, match="is no provider"):
            ask(request)
    assert not folder.exists()
