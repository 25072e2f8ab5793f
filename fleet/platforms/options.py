"""The options of a stack's platform: ``fleet:<platform>`` in its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from fleet.errors import UsageError
from fleet.model import Model

M = TypeVar("M", bound=Model)


def read_options(model: type[M], options: Mapping[str, Any], *, platform: str, stack: str) -> M:
    """Read ``fleet:<platform>``.

    Raises:
        UsageError: An option is wrong.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = "There is no such option" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(
            f"`fleet:{platform}` in the config of stack {stack}: `{key}`: {what}.",
            fix=f"The options are {', '.join(model.model_fields)}.",
        ) from None
