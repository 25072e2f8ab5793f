"""The options of a stack's platform: ``fleet:<platform>`` in its config.

What means the same has the same name on every platform, :data:`COMMON`. An option that is renamed keeps its old name,
in :attr:`PlatformOptions.renamed`: a stack that says it is what it was, and its user is told once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from fleet.errors import FleetWarning, UsageError
from fleet.hints import nearest
from fleet.model import Model

COMMON: Mapping[str, tuple[str, ...]] = {
    "architecture": ("arch",),
    "bucket": ("object_store", "storage_bucket"),
    "cidr": ("network_cidr", "range", "ip_range", "address_space"),
    "dns_zone": ("domain", "hosted_zone", "managed_zone"),
    "public_addresses": ("public_ips", "external_addresses", "floating_ips"),
    "root_size_gib": ("root_disk_gib", "boot_disk_size", "os_disk_size"),
    "spot": ("preemptible",),
    "tags": ("labels", "metadata"),
    "vpc": ("network", "vnet", "virtual_network"),
    "zones": ("availability_zones", "locations"),
}
"""Options that platforms share, and what users and providers call them besides."""


class PlatformOptions(Model):
    """The options of a platform.

    Attributes:
        renamed: Today's name of an option by each name of before.
    """

    renamed: ClassVar[Mapping[str, str]] = {}


M = TypeVar("M", bound=PlatformOptions)


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str) -> M:
    """Read ``fleet:<platform>``. An option under an old name is a :class:`~fleet.errors.FleetWarning`.

    Raises:
        UsageError: An option is wrong.
    """
    where = f"`fleet:{platform}` in the config of stack {stack}"
    current = dict(options)
    for old, new in model.renamed.items():
        if old not in current:
            continue
        if new in current:
            raise UsageError(f"{where}: `{old}` is the old name of `{new}`, and both are set.", fix=f"Remove `{old}`.")
        current[new] = current.pop(old)
        warnings.warn(f"{where}: `{old}` is called `{new}` now. The old name still works.", FleetWarning, stacklevel=2)
    try:
        return model.model_validate(current)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = "There is no such option" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(f"{where}: `{key}`: {what}.", fix=_fix(key, model)) from None


def _fix(key: str, model: type[PlatformOptions]) -> str:
    """How to mend a wrong option."""
    meant = next((name for name, words in COMMON.items() if key in words and name in model.model_fields), None)
    near = f"Did you mean `{meant}`?" if meant else nearest(key, model.model_fields)
    return " ".join(filter(None, (near, f"The options are {', '.join(model.model_fields)}.")))
