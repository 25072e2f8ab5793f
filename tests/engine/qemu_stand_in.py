"""A stand-in for ``qemu-system-x86_64``: a daemon that answers HTTP on forwarded ports, and logs its life.

A config that holds the word ``sick`` makes it answer 503, and so does a file
``sick-NODE`` beside the log; one that holds the word ``held``, for as long as a file ``hold`` is there. It ends at
SIGKILL only, as there is no QMP socket.
"""

from __future__ import annotations

import http.server
import os
import re
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    arguments = sys.argv[1:]
    name = arguments[arguments.index("-name") + 1]
    forwards = re.findall(r"hostfwd=tcp:([\d.]+):(\d+)-:(\d+)", " ".join(arguments))
    config = Path("config.ign").read_text()
    beside = Path(os.environ["STAND_IN_LOG"]).with_name
    flags = [beside(f"sick-{name.rpartition('-')[0]}"), *([beside("hold")] if "held" in config else [])]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if "sick" in config or any(flag.exists() for flag in flags) else 200)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002
            pass

    if pid := os.fork():
        Path("qemu.pid").write_text(f"{pid}\n")
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    Path("console.log").write_text(f"{name} says hello\n")
    with Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        log.write(f"{time.monotonic()} {name.rpartition('-')[0]}\n")
    for address, host, node in forwards:
        if node != "22":
            server = http.server.ThreadingHTTPServer((address, int(host)), Handler)
            threading.Thread(target=server.serve_forever).start()


main()
