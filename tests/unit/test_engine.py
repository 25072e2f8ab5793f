"""What is left of an engine that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from fleet.ops.engine import end_idle_providers

IDLE = [sys.executable, "-c", "import time; time.sleep(600)", "-m", "pulumi.dynamic"]


def test_a_provider_is_ended_that_an_engine_left_before_it_asked_it_anything(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    environment = {**os.environ, "FLEET_ENGINE": f"{ended.pid}-abc"}
    # An engine's name is all that tells it.
    copied = tmp_path / "pulumi"
    copied.write_bytes(Path(sys.executable).resolve().read_bytes())
    copied.chmod(0o755)
    start = f"import subprocess; print(subprocess.Popen({IDLE!r}).pid, flush=True); input()"
    libraries = {**environment, "PYTHONHOME": sys.base_prefix}
    with (
        subprocess.Popen(IDLE, env=environment) as left,
        subprocess.Popen(IDLE) as foreign,
        subprocess.Popen(
            [copied, "-c", start], env=libraries, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as alive,
    ):
        assert alive.stdout
        child = int(alive.stdout.readline())
        end_idle_providers()
        assert left.wait(30) == -signal.SIGKILL
        assert foreign.poll() is None
        assert Path(f"/proc/{child}/cmdline").read_bytes()
        for number in (child, foreign.pid, alive.pid):
            os.kill(number, signal.SIGKILL)
