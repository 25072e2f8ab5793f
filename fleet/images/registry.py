"""Container registries: the current digest of a reference (OCI distribution spec, "Pulling manifests")."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fleet.config import Transpiler
from fleet.errors import FleetError


def current_digests(references: Iterable[str]) -> dict[str, str]:
    """Resolve references to digests. Credentials are those of Podman and Docker on this machine.

    Args:
        references: Fully qualified, such as "docker.io/library/caddy:2".

    Returns:
        By reference, in ascending order: "sha256:" and 64 hexadecimal digits. Where an image is there for several
        architectures, the digest is that of all together.

    Raises:
        FleetError: A registry cannot be reached, or has no such image.
    """
    unique = sorted(set(references))
    with Transpiler(environment=os.environ) as child:
        replies = child.calls("digest", [{"text": reference} for reference in unique])
    for reference, reply in zip(unique, replies, strict=True):
        if "error" in reply:
            raise FleetError(
                f"The digest of {reference} cannot be had: {reply['error']}.",
                fix="Check the reference and the network; if its registry asks who you are, `podman login` first.",
            )
    return {reference: reply["data"] for reference, reply in zip(unique, replies, strict=True)}
