"""Texts of a workload that hold a secret, and how they reach a node so that none of its users can read them.

- A variable of the environment becomes a Podman secret of its own. In the unit it would be in the service that
  Podman's generator makes of it, too, which everybody can read, and among the arguments of processes. Docker, which
  gives no secret as a variable, reads it from a file.
- A mounted file lies in a folder that is closed to others. Its own mode stays: it is for users of the container, to
  whom the file is given by itself.
- Whatever else holds one (a command, a label, a health check) stays in its unit, whose file is closed to others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fleet.workloads.container import Container, SecretUse
from fleet.workloads.workload import Workload

Place = tuple[str | int, ...]
"""Where in a workload a text stands, such as ``("containers", "app", "environment", "TOKEN")``; a shorter one stands
for all below it."""


@dataclass(frozen=True)
class Confidential:
    """Where in a workload texts stand that hold a secret.

    Attributes:
        places: The places.
    """

    places: Collection[Place] = ()

    def has(self, *where: str | int) -> bool:
        """Whether something at a place, or below it, holds a secret."""
        return any(place[: len(where)] == where or where[: len(place)] == place for place in self.places)

    def variables(self, engine: str, name: str, container: Container) -> dict[str, str]:
        """The variables of a container that hold a secret and can be given to it beside its unit."""
        takes = _for_podman if engine == "podman" else _for_docker
        return {
            key: text
            for key, text in container.environment.items()
            if self.has("containers", name, "environment", key) and takes(key, text)
        }

    def without(self, by_container: Mapping[str, Collection[str]]) -> Confidential:
        """What is left in units.

        Args:
            by_container: By container, the variables that are given to it beside its unit.
        """
        files, variables = ("containers", "files"), ("containers", "environment")

        def beside(place: Place) -> bool:
            kind = place[::2][:2]
            return (kind == files and len(place) == 5 and place[4] == "text") or (
                kind == variables and len(place) == 4 and place[3] in by_container.get(str(place[1]), ())
            )

        return Confidential([place for place in self.places if not beside(place)])


def apart(workload: Workload, by_container: Mapping[str, Mapping[str, str]]) -> Workload:
    """A workload without variables that containers are given beside their units.

    Args:
        workload: The workload.
        by_container: By container, its variables.
    """
    containers = {
        name: container.model_copy(
            update={"environment": {k: v for k, v in container.environment.items() if k not in by_container[name]}}
        )
        if by_container.get(name)
        else container
        for name, container in workload.containers.items()
    }
    return workload.model_copy(update={"containers": containers})


def as_secrets(workload: Workload, by_container: Mapping[str, Mapping[str, str]]) -> tuple[Workload, dict[str, str]]:
    """A workload whose containers have variables as Podman secrets, and the values of these, by name.

    Args:
        workload: The workload, without the variables.
        by_container: By container, the variables.
    """
    # A dot is in no name of a spec.
    values = {f"{name}.{key}": text for name, variables in by_container.items() for key, text in variables.items()}
    containers = dict(workload.containers)
    for name, variables in by_container.items():
        uses = [SecretUse.model_construct(name=f"{name}.{key}", type="env", target=key) for key in sorted(variables)]
        if uses:
            secrets = [*containers[name].secrets, *uses]
            containers[name] = containers[name].model_copy(update={"secrets": secrets})
    return workload.model_copy(update={"containers": containers}), values


def _for_podman(key: str, text: str) -> bool:
    """Whether a variable can be a Podman secret.

    That is a matter of the name that it would have (``secretNameRegexp`` in Podman's ``pkg/domain``), and of its size.
    """
    valid = re.fullmatch(r"[A-Za-z0-9_.-]*[A-Za-z0-9]", key) and len(key) <= _LONGEST_KEY
    return bool(valid and 0 < len(text.encode()) < _LARGEST_SECRET and "\0" not in text)


_LONGEST_KEY = 180
"""Of the 253 characters that a secret's name has, 63 are a container's name and one is the dot."""
_LARGEST_SECRET = 512_000


def _for_docker(key: str, text: str) -> bool:
    """Whether a variable can stand in a file for ``docker run --env-file``, which has a line for each."""
    return not key.startswith("#") and not re.search("[\0\r\n]", text)
