"""``fleet schema``."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    options: Annotated[
        str | None,
        typer.Option(
            "--options", metavar="PLATFORM", help="Of a platform's options, `fleet:PLATFORM` in the stack's config."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of the spec, for editors and checkers."""
    from fleet.spec.schema import schema_text

    if options is None:
        print(schema_text(), end="")
        return
    from fleet.platforms import platform_class

    print(schema_text(platform_class(options).options_model), end="")
