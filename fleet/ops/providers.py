"""The providers of dynamic resources in this process, for previews.

The engine starts a process for them, and, where it refreshes first, another one: it loads the provider of the state,
and then checks that of the program with one of its own (``Registry.Check`` in ``pkg/resource/deploy/providers`` of
github.com/pulumi/pulumi). Each takes most of a second of a processor, all but for the import of Pulumi's SDK, which the
command has imported already: as much as all the rest of a preview of a few nodes. So a preview's engine is told to use
a server here, which is asked what ``python -m pulumi.dynamic`` would be: to compare, and to look.

What changes anything stays in a process of its own, which ends with its engine, and goes on without the command.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.dynamic import ResourceProvider
from pulumi.runtime import Settings, configure, proto, rpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import ResourceProviderServicer, provider_pb2_grpc

from fleet.dynamic.provider import Provider
from fleet.dynamic.tokens import PROVIDER

_ATTACHED = "PULUMI_DEBUG_PROVIDERS"
"""The environment variable by which an engine finds providers that run already: ``package:port``, with commas."""
_PACKAGE = "pulumi-python"
_AT_ONCE = 4
"""Requests, as ``python -m pulumi.dynamic`` has it."""


@contextmanager
def served(project: str) -> Iterator[Mapping[str, str]]:
    """A context in which providers are served; yields the environment variables by which an engine uses them.

    Args:
        project: The project's name.
    """
    server = grpc.server(ThreadPoolExecutor(_AT_ONCE), options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer(project), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        others = os.environ.get(_ATTACHED, "").split(",")
        yield {_ATTACHED: ",".join([*filter(None, others), f"{_PACKAGE}:{port}"])}
    finally:
        server.stop(0).wait()


def _answered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose exceptions are answers."""

    @functools.wraps(method)
    def answer(self: _Servicer, request: Any, context: grpc.ServicerContext) -> Any:
        # They are a thread's own.
        configure(Settings(project=self.project, stack="stack", organization="organization"))
        try:
            return method(self, request)
        except Exception as error:
            context.abort(grpc.StatusCode.UNKNOWN, "".join(traceback.format_exception_only(error)))

    return answer


class _Named(pickle.Unpickler):
    """Reads pickles that name one of fleet's providers, or of a platform's, and nothing else.

    Any process of this machine can reach the server, whoever's it is, and a pickle can call whatever there is.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The provider of a name.

        Raises:
            pickle.UnpicklingError: It is none.
        """
        named = super().find_class(module, name)
        if isinstance(named, type) and issubclass(named, Provider):
            return named
        raise pickle.UnpicklingError(f"{module}.{name} is no provider.")


class _Servicer(ResourceProviderServicer):
    """What a preview's engine asks of dynamic providers.

    Args:
        project: The project's name.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self._providers: dict[str, ResourceProvider] = {}
        self._lock = threading.Lock()

    def _provider(self, properties: Mapping[str, Any]) -> ResourceProvider:
        """The provider that a resource names; fleet's and platforms' have nothing to be configured for."""
        pickled = properties[PROVIDER]
        with self._lock:
            if pickled not in self._providers:
                self._providers[pickled] = _Named(io.BytesIO(base64.b64decode(pickled))).load()
            return self._providers[pickled]

    @_answered
    def Check(self, request: Any) -> Any:  # noqa: N802
        olds, news = (rpc.deserialize_properties(each, True) for each in (request.olds, request.news))
        result = self._provider(olds if news[PROVIDER] == rpc.UNKNOWN else news).check(olds, news)
        failures = [proto.CheckFailure(property=each.property, reason=each.reason) for each in result.failures]
        return proto.CheckResponse(inputs=_serialized(result.inputs, news), failures=failures)

    @_answered
    def Diff(self, request: Any) -> Any:  # noqa: N802
        olds, news = (rpc.deserialize_properties(each, True) for each in (request.olds, request.news))
        result = self._provider(olds if news[PROVIDER] == rpc.UNKNOWN else news).diff(request.id, olds, news)
        changes = {None: proto.DiffResponse.DIFF_UNKNOWN, True: proto.DiffResponse.DIFF_SOME}
        return proto.DiffResponse(
            changes=changes.get(result.changes, proto.DiffResponse.DIFF_NONE),
            replaces=result.replaces or [],
            deleteBeforeReplace=bool(result.delete_before_replace),
        )

    @_answered
    def Read(self, request: Any) -> Any:  # noqa: N802
        properties = rpc.deserialize_properties(request.properties) or rpc.deserialize_properties(request.inputs)
        result = self._provider(properties).read(request.id, properties)
        inputs = None if result.inputs is None else _serialized(result.inputs, properties)
        return proto.ReadResponse(
            id=result.id or "", properties=_serialized(result.outs or {}, properties), inputs=inputs
        )

    @_answered
    def Configure(self, _request: Any) -> Any:  # noqa: N802
        return proto.ConfigureResponse(acceptSecrets=False)

    @_answered
    def GetPluginInfo(self, _request: Any) -> Any:  # noqa: N802
        return proto.PluginInfo(version="0.1.0")

    @_answered
    def Attach(self, _request: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    @_answered
    def Cancel(self, _request: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()


def _serialized(properties: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """Properties as the engine takes them, with the provider that they came with."""
    return asyncio.run(rpc.serialize_properties({**properties, PROVIDER: asked[PROVIDER]}, {}))
