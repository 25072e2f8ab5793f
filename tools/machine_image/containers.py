"""Container images that cannot be pulled offline, made from Debian packages.

Each is a docker-archive under the reference that specs name, with the entry point, ports and paths of the image that it
stands in for.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools import cache

Bootstrap = Callable[..., None]


@dataclass(frozen=True)
class ContainerImage:
    """A stand-in.

    Attributes:
        reference: What a spec calls it.
        packages: Debian packages in it.
        rootless: Whether users' Podman is to have it too.
        config: The ``config`` of the OCI image config (Cmd, Entrypoint, Env, WorkingDir, ...).
    """

    reference: str
    packages: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
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


def archives(bootstrap: Bootstrap) -> Iterator[tuple[ContainerImage, Path]]:
    """The archives, built where they are not in the cache."""
    for image in IMAGES:
        name = "container-" + image.reference.replace("/", "-").replace(":", "-")
        key = cache.key_of(Path(__file__), repr(image))
        yield image, cache.built(name, key, functools.partial(_build, image, bootstrap)) / "image.tar"


def _build(image: ContainerImage, bootstrap: Bootstrap, out: Path) -> None:
    layer = out / "layer.tar"
    bootstrap(image.packages, layer, variant="extract")
    _finish_layer(layer)
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


def _finish_layer(layer: Path) -> None:
    """Add what package scripts would make, which an extracted tree lacks: accounts, busybox's applets, folders."""
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    }
    with tarfile.open(layer, "a") as archive:
        # Podman refuses a layer that names a path twice.
        there = {name.removeprefix("./").rstrip("/") for name in archive.getnames()}

        def add(info: tarfile.TarInfo, content: bytes = b"") -> None:
            if info.name not in there:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

        for name, text in files.items():
            add(tarfile.TarInfo(name), text.encode())
        for applet in "sh cat echo env id ls mkdir sleep test true wget httpd nc date hostname stat".split():
            info = tarfile.TarInfo(f"usr/local/bin/{applet}")
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, "/usr/bin/busybox", 0o777
            add(info)
        # Debian's base-files, which an extracted tree lacks: the program interpreter is /lib64/ld-linux-x86-64.so.2.
        for name in ("bin", "lib", "lib64", "sbin"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, f"usr/{name}", 0o777
            add(info)
        for folder in ("srv", "data", "config", "tmp", "root"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            add(info)
