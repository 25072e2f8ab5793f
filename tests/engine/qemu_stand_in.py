"""A stand-in for ``qemu-system-x86_64``: a daemon that answers HTTP on forwarded ports, and logs its life.

A config that holds the word ``sick`` makes it answer 503, and so does a file ``sick-NODE`` beside the log; one that
holds the word ``held``, for as long as a file ``hold`` is there. What its report says that is not well is in a file
``troubles-NODE``. It ends at SIGKILL only, as there is no QMP socket.

What KVM does here is in the environment's ``STAND_IN_KVM``: "works"; "hangs" where the firmware runs, and after a boot
loader nothing does; "missing" where there is no device. Emulated, a machine is always well.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

from tests.engine.reports import port_of, report_of


def main() -> None:
    arguments = sys.argv[1:]
    accelerator = arguments[arguments.index("-accel") + 1].partition(",")[0]
    kvm = os.environ.get("STAND_IN_KVM", "works") if accelerator == "kvm" else ""
    if kvm == "missing":
        sys.exit("qemu-system-x86_64: Could not access KVM kernel module: No such file or directory")
    if "-name" not in arguments:
        firmware = next(re.finditer(r"path=([^,]+)", " ".join(arguments)))[1].split()[0]
        Path(firmware).write_text("SeaBIOS (version 1.16.2)\n")
        time.sleep(3600)
    name = arguments[arguments.index("-name") + 1]
    forwards = re.findall(r"hostfwd=tcp:([\d.]+):(\d+)-:(\d+)", " ".join(arguments))
    config = Path("config.ign").read_text()
    beside = Path(os.environ["STAND_IN_LOG"]).with_name
    node_name = name.rpartition("-")[0]
    flags = [beside(f"sick-{node_name}"), *([beside("hold")] if "held" in config else [])]
    troubles = beside(f"troubles-{node_name}")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if "sick" in config or any(flag.exists() for flag in flags) else 200)
            self.end_headers()
            # As pages of errors do.
            self.wfile.write(self.path.encode())

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002
            pass

    class Report(Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            wrong = json.loads(troubles.read_text()) if troubles.exists() else {}
            self.wfile.write(json.dumps(report_of(config, node_name, wrong)).encode())

    waiting, running = os.pipe()
    if pid := os.fork():
        Path("qemu.pid").write_text(f"{pid}\n")
        os.close(running)
        # As `-daemonize`: who started it goes on once it has its ports.
        os.read(waiting, 1)
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    # A boot loader clears the screen.
    console = "\033[H\033[J\033[1;1H" if kvm == "hangs" else f"[    0.000000] Linux version 6\n{name} says hello\n"
    Path("console.log").write_text(console)
    with Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        log.write(f"{time.monotonic()} {node_name} {accelerator}\n")
    if kvm == "hangs":
        os.close(running)
        time.sleep(3600)
    report = str(port_of(config))
    for address, host, node in forwards:
        if node != "22":
            server = http.server.ThreadingHTTPServer((address, int(host)), Report if node == report else Handler)
            threading.Thread(target=server.serve_forever).start()
    os.close(running)


main()
