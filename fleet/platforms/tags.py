"""Tags by which firewalls find machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.platforms.shapes import digest


@dataclass(frozen=True)
class Tags:
    """The tags by which a firewall's rules find machines, in an account or a network that others share.

    A machine has the fleet's tag and its group's, which no other group, fleet, stack or project has. One that was
    deployed by an earlier release has stack, fleet and group joined by dashes instead, in lower case, which others may
    have, too. It gets its new tags in place, at its turn in the rollout. So that no machine is without its rules or cut
    off from its peers meanwhile, rules go by the earlier tags as well, and change before any machine does.

    Attributes:
        project: The Pulumi project's name.
        stack: The stack's name.
        fleet: The fleet's name.
        valid: A pattern of what the platform takes as a tag.
    """

    project: str
    stack: str
    fleet: str
    valid: str

    def tag(self, group: str = "") -> str:
        """The tag of a group's machines, or of all of the fleet's.

        Up to 63 lower-case letters, digits and dashes, beginning with a letter. It is readable as far as there
        is room, and ends with a digest of the four names.
        """
        shown = re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, (self.stack, self.fleet, group))).lower())
        known = digest([self.project, self.stack, self.fleet, group])[:_TAG_DIGEST]
        return f"fleet-{shown[: 63 - len('fleet--') - _TAG_DIGEST].strip('-')}-{known}"

    def earlier(self, group: str = "") -> list[str]:
        """The earlier tag, if the platform took it."""
        tag = "-".join(filter(None, ("fleet", self.stack, self.fleet, group))).lower()
        return [tag] if re.fullmatch(self.valid, tag) else []


_TAG_DIGEST = 16
"""Hexadecimal digits: with a million groups in an account, two have the same ones with a chance of 1 in 10**7."""
