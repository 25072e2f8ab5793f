"""A ``pulumi-language-python`` that runs the program in its own process.

The engine starts it with its address as the first argument, reads the port from its output, and asks it to run the
program (https://github.com/pulumi/pulumi, ``sdk/proto/pulumi/language.proto``). The Automation API's server for inline
programs does all that but finding the program.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
from concurrent import futures
from pathlib import Path
from threading import Event
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.automation._server import LanguageServer
from pulumi.runtime import settings
from pulumi.runtime.proto import language_pb2_grpc, plugin_pb2


class LanguageHost(LanguageServer):
    """Runs ``__main__.py`` of the folder that the engine names."""

    def __init__(self, engine: str) -> None:
        super().__init__(lambda: None)
        self._engine = engine

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0")

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> Any:
        folder = Path(request.info.program_directory or request.pwd)

        def program() -> None:
            settings.SETTINGS.root_directory = request.info.root_directory
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            runpy.run_path(str(folder / "__main__.py"), run_name="__main__")

        self.program = program
        del request.args[:]
        request.args.append(self._engine)
        return super().Run(request, context)  # type: ignore[no-untyped-call]


def main() -> None:
    # The engine ends it with an interrupt, which what a shell starts in the background would ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(sys.argv[1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        Event().wait()


main()
