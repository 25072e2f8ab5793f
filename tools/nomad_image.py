"""The stand-in machine image with what `examples/nomad` runs: Nomad itself, the last 1.6 that the Go proxy serves.

Nomad up to 1.6 is under the MPL 2.0. Its Podman driver cannot be had here: clients run no jobs in containers.
"""

from __future__ import annotations

from pathlib import Path

from tools.machine_image import derived_image
from tools.machine_image.containers import ContainerImage

REFERENCE = "registry.example.org/nomad:1.6"

IMAGES = (
    ContainerImage(
        REFERENCE,
        ("ca-certificates", "coreutils", "dash", "grep"),
        {
            "Entrypoint": ["nomad"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        programs={"usr/local/bin/nomad": ("nomad", "github.com/hashicorp/nomad")},
        # Nomad refuses a plugin folder that is not there.
        files={"opt/nomad/plugins/README": "No drivers here.\n"},
    ),
)


def nomad_image() -> Path:
    """The image, built if it is not in the cache. Needs root."""
    return derived_image("nomad-machine-image", IMAGES)
