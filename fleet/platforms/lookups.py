"""Lookups at a provider, before a machine is stopped, of what its replacement needs; and the provider's SDK."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi.runtime import invoke_async

from fleet.dynamic.outputs import independent
from fleet.errors import FleetError
from fleet.plan import LockedImage, Needs


class Sdk:
    """A provider's SDK, imported when first used: planning needs none, and each is large.

    Args:
        module: The Python module.
        extra: The extra of fleet's package that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        self._module, self._extra = module, extra

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(importlib.import_module(self._module), name)
        except ModuleNotFoundError as error:
            if error.name != self._module:
                raise
            raise FleetError(
                f"The platform needs the Python package {self._module.replace('_', '-')}, which is not installed.",
                fix=f"Install it: `pip install 'fcos-fleet[{self._extra}]'`.",
            ) from None


class Lookups:
    """What a provider says of what machines need, each asked once in a run of a program.

    Args:
        sdk: The provider's SDK.
        opts: Options of resources that the provider makes.
    """

    def __init__(self, sdk: Any, opts: pulumi.ResourceOptions) -> None:
        self._sdk, self._parent = sdk, opts.parent
        self._answers: dict[str, asyncio.Future[str]] = {}

    def ask(
        self,
        what: str,
        function: str,
        arguments: Mapping[str, Any],
        judge: Callable[[Mapping[str, Any]], str],
        *,
        absent: str = "(?!)",
        missing: str = "",
    ) -> asyncio.Future[str]:
        """Why a thing is not to be had, as :attr:`~fleet.plan.Needs.missing`.

        Empty if it is, or if that cannot be known yet.

        Args:
            what: The thing, in words; asked for once.
            function: The provider's function, such as "aws:ec2/getAmi:getAmi".
            arguments: Its arguments.
            judge: Given the function's result, as the provider returns it.
            absent: A pattern of the error with which the function says that there is no such thing.
            missing: What is then missing.
        """
        if what not in self._answers:
            answer = self._asked(what, function, arguments, judge, absent, missing)
            self._answers[what] = asyncio.ensure_future(answer)
        return self._answers[what]

    async def _asked(
        self,
        what: str,
        function: str,
        arguments: Mapping[str, Any],
        judge: Callable[[Mapping[str, Any]], str],
        absent: str,
        missing: str,
    ) -> str:
        defaults = self._sdk._utilities.get_invoke_opts_defaults()
        try:
            result = await invoke_async(
                function,
                dict(arguments),
                pulumi.InvokeOptions.merge(defaults, pulumi.InvokeOptions(parent=self._parent)),
            )
        except Exception as error:  # the engine's, of no type of their own
            reason = " ".join(str(error).split())
            if re.search(absent, reason):
                return missing
            return (
                f"Whether there is {what} cannot be found out, so no machine is stopped: {reason.rstrip('.')}. "
                "If a permission is missing, docs/platforms.md lists what is needed."
            )
        return "" if result is None else judge(result)


def needs_of(answers: Sequence[asyncio.Future[str]]) -> Needs:
    """What a node needs, of what was looked up for it."""

    async def missing() -> str:
        return " ".join(filter(None, [await answer for answer in answers]))

    return Needs(independent(missing()))


def image_gone(image: LockedImage, what: str) -> str:
    """That a locked image is not there any more, and what to do."""
    return (
        f"The locked image, {what} (release {image.release}), is not there any more, so no machine can be made of it, "
        "and none is stopped. Lock a newer one with `fleet image update`."
    )
