"""Real programs that judge what fleet generates, without a boot.

A copy-on-write view of the stand-in machine image's root file system, in which the real Ignition writes a config as at
first boot, Podman's Quadlet generator makes services of Quadlet files, and systemd checks units and reads their command
lines.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.machine_image import rootfs

HERE = Path(__file__).parent

_IN_VIEW = """
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mount -t proc proc "$4/proc"
mount --bind /dev "$4/dev"
root=$4; shift 4
exec chroot "$root" "$@"
"""


class Judge:
    """A view of the root file system; what is written to it goes with ``scratch``.

    Args:
        scratch: An empty folder.
    """

    def __init__(self, scratch: Path) -> None:
        self._lower = rootfs()
        self._folders = [scratch / name for name in ("upper", "work", "merged")]
        self.changes = self._folders[0]
        self._tool = scratch / "command-words"
        subprocess.run(["cc", "-O1", "-Wall", "-o", self._tool, HERE / "command_words.c", "-ldl"], check=True)
        self._reset()

    def _reset(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        shutil.copy(self._tool, self.changes)

    def run(self, *command: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the view."""
        return subprocess.run(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "sh",
                "-euc",
                _IN_VIEW,
                "sh",
                self._lower,
                *self._folders,
                *command,
            ],
            input=stdin,
            capture_output=True,
            env={"PATH": os.environ["PATH"], **environment},
        )

    def apply(self, ignition: str) -> None:
        """Have Ignition write a config to a fresh view, as at first boot."""
        self._reset()
        for user in json.loads(ignition).get("passwd", {}).get("users", []):
            # ignition-apply leaves users out; at boot Ignition calls useradd like this.
            number = ["--uid", str(user["uid"])] if "uid" in user else []
            self.run("useradd", "--create-home", "--password", "*", *number, user["name"])
        (self.changes / "config.ign").write_text(ignition)
        result = self.run("/usr/libexec/ignition-apply", "--ignore-unsupported", "/config.ign", container="podman")
        assert result.returncode == 0, (result.stdout + result.stderr).decode()

    def content(self, path: str) -> bytes:
        """What was written to a file."""
        return (self.changes / path.removeprefix("/")).read_bytes()

    def owner(self, path: str) -> int:
        """The number of the user who owns a path."""
        return (self.changes / path.removeprefix("/")).stat().st_uid

    def services(self, folder: str = "/etc/containers/systemd", *, user: bool = False) -> dict[str, str]:
        """What Podman's generator makes of the Quadlet files in a folder: text by unit name."""
        result = self.run(
            "/usr/libexec/podman/quadlet", "-dryrun", *(["-user"] if user else []), QUADLET_UNIT_DIRS=folder
        )
        assert result.returncode == 0, result.stderr.decode()
        found: dict[str, str] = {}
        name = ""
        for line in result.stdout.decode(errors="surrogateescape").split("\n"):
            if line.startswith("---") and line.endswith("---"):
                name = line.strip("-")
                found[name] = ""
            elif name:
                found[name] += line + "\n"
        return found

    def generate(self, files: Mapping[str, str]) -> dict[str, str]:
        """:meth:`services` of these Quadlet files alone."""
        folder = self.changes / "quadlet"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return self.services("/quadlet")

    def words(self, service: str) -> list[str]:
        """The words of a service's ``ExecStart=``, as systemd passes them to the process."""
        line = next(line for line in service.split("\n") if line.startswith("ExecStart="))
        result = self.run("/command-words", stdin=line.removeprefix("ExecStart=").encode())
        assert result.returncode == 0, (line, result.stderr)
        return [word.decode() for word in result.stdout.split(b"\0")[:-1]]

    def verify(self, units: Mapping[str, str], *, user: bool = False) -> str:
        """What ``systemd-analyze verify`` complains of."""
        home = "user" if user else "system"
        folder = self.changes / f"etc/systemd/{home}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            (folder / name).write_text(text, errors="surrogateescape")
        result = self.run(
            "systemd-analyze", f"--{home}", "--man=no", "verify", *(f"/etc/systemd/{home}/{name}" for name in units),
            XDG_RUNTIME_DIR="/run",
        )  # fmt: skip
        return result.stderr.decode() if result.returncode or result.stderr else ""


def option(words: list[str], *names: str) -> list[str]:
    """The values of an option that may stand several times: ``--env X`` or ``--env=X``."""
    found = []
    for index, word in enumerate(words):
        if word in names:
            found.append(words[index + 1])
        found += [word.removeprefix(f"{name}=") for name in names if word.startswith(f"{name}=")]
    return found


def json_words(text: str) -> list[str]:
    """A JSON array of texts."""
    words: list[str] = json.loads(text)
    return words
