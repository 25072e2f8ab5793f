"""Container images that cannot be pulled offline, made from Debian packages.

Each is a docker-archive under the reference that specs name, with the entry point, ports and paths of the image that it
stands in for.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools import cache, go

Bootstrap = Callable[..., None]


@dataclass(frozen=True)
class ContainerImage:
    """A stand-in.

    Attributes:
        reference: What a spec calls it.
        packages: Debian packages in it.
        suite: The Debian release that they are of.
        requirements: Python packages in it, for its Python.
        programs: By path, the module of ``tools/gomodules`` and the Go package that make it.
        files: Texts by path; one that begins with ``#!`` is executable.
        accounts: Users, and groups of the same names and numbers.
        writable: Folders that every user may write to.
        rootless: Whether users' Podman is to have it too.
        config: The ``config`` of the OCI image config (Cmd, Entrypoint, Env, WorkingDir, ...).
    """

    reference: str
    packages: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
    suite: str = "trixie"
    requirements: tuple[str, ...] = ()
    programs: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    writable: tuple[str, ...] = ()
    rootless: bool = False


IMAGES = (
    ContainerImage(
        "docker.io/library/caddy:2",
        ("caddy", "busybox-static", "ca-certificates"),
        {
            "Cmd": ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"],
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "XDG_CONFIG_HOME=/config",
                "XDG_DATA_HOME=/data",
            ],
            "WorkingDir": "/srv",
        },
    ),
    ContainerImage(
        "docker.io/library/busybox:1",
        ("busybox-static",),
        {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        rootless=True,
    ),
)


def archives(bootstrap: Bootstrap, images: Sequence[ContainerImage] = IMAGES) -> Iterator[tuple[ContainerImage, Path]]:
    """The archives, built where they are not in the cache."""
    for image in images:
        name = "container-" + image.reference.replace("/", "-").replace(":", "-")
        yield image, cache.built(name, key_of(image), functools.partial(_build, image, bootstrap)) / "image.tar"


def key_of(image: ContainerImage) -> str:
    """The cache's key of an image: a digest of all that it is made of."""
    modules = (go.MODULES / module for module, _ in image.programs.values())
    return cache.key_of(Path(__file__), repr(image), *modules)


def _build(image: ContainerImage, bootstrap: Bootstrap, out: Path) -> None:
    tree, layer = out / "tree", out / "layer.tar"
    bootstrap(image.packages, tree, variant="extract", suite=image.suite)
    _finish(image, tree)
    order = ("--sort=name", "--mtime=@0", "--numeric-owner", "--one-file-system")
    subprocess.run(["tar", "-C", tree, *order, "--exclude=./dev/*", "-cf", layer, "."], check=True)
    shutil.rmtree(tree)
    diff_id = "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "fleet tools/machine_image"}],
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [image.reference], "Layers": ["layer.tar"]}]
    (out / config_name).write_bytes(config)
    (out / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(out / "image.tar", "w") as archive:
        for name in (config_name, "manifest.json", "layer.tar"):
            archive.add(out / name, name)
            (out / name).unlink()


def _finish(image: ContainerImage, tree: Path) -> None:
    """Add what package scripts would make, which an extracted tree lacks (accounts, busybox's applets, folders), and
    what the image has beside packages.
    """
    accounts = {"root": 0, **image.accounts, "nobody": 65534}
    passwd = "".join(f"{name}:x:{number}:{number}:{name}:/:/bin/sh\n" for name, number in accounts.items())
    files = {
        "etc/passwd": passwd,
        "etc/group": "".join(f"{name}:x:{number}:\n" for name, number in accounts.items()),
        **image.files,
    }
    # Debian's base-files, which an extracted tree lacks: the program interpreter is /lib64/ld-linux-x86-64.so.2.
    for name in ("bin", "lib", "lib64", "sbin"):
        if not os.path.lexists(tree / name):
            (tree / name).symlink_to(f"usr/{name}")
    for folder in ("srv", "data", "config", "tmp", "root", "etc", "run", "proc", "sys", "dev", "usr/local/bin"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tree / "var/run", ignore_errors=True)
    (tree / "var").mkdir(exist_ok=True)
    (tree / "var/run").symlink_to("/run")
    for folder in ("tmp", *image.writable):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder).chmod(0o1777)
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    if (tree / "usr/bin/busybox").exists():
        for applet in "sh cat echo env id ls mkdir sleep test true wget httpd nc date hostname stat".split():
            if not os.path.lexists(tree / "usr/local/bin" / applet):
                (tree / "usr/local/bin" / applet).symlink_to("/usr/bin/busybox")
    for name, (module, package) in image.programs.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        go.build(go.MODULES / module, package, tree / name, variables={}, cgo=True)
    if image.requirements:
        _install_python(image, tree)


def _install_python(image: ContainerImage, tree: Path) -> None:
    """Wheels for the image's own Python, compiled there: under emulation, compiling at each start takes minutes."""
    (python,) = tree.glob("usr/bin/python3.[0-9]*")
    version = python.name.removeprefix("python")
    target = tree / f"usr/local/lib/python{version}/dist-packages"
    install: list[str | Path] = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet"]
    # Of its own accord uv trusts only the authorities that it brings.
    install += ["--system-certs", "--target", target]
    kind = ["--python-version", version, "--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:"]
    subprocess.run([*install, *kind, *image.requirements], check=True)
    subprocess.run(["chroot", tree, f"/usr/bin/{python.name}", "-m", "compileall", "-q", "/usr/lib/python3",
                    f"/usr/lib/python{version}", target.relative_to(tree).as_posix()], check=True)  # fmt: skip
