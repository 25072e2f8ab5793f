"""One run of a Pulumi program: what the fleets in it share, and what each of them does before it declares anything.

The program of a spec and a fleet in a user's program are the same here, so they have the same gates, order, repairs and
history.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import config as runtime_config

from fleet.dynamic.tokens import READY
from fleet.errors import FleetError, FleetWarning
from fleet.plan import FleetPlan
from fleet.platforms.base import Platform
from fleet.program.changes import Compared
from fleet.program.exported import is_encrypted, resources_of
from fleet.program.fleets import own_state
from fleet.program.history import with_change
from fleet.program.interrupted import check_interrupted
from fleet.program.order import Answer, Order, ordered, tell
from fleet.program.references import export
from fleet.program.stack_plan import Secrets
from fleet.program.state import immutable_settings, with_state
from fleet.stack_config import Secure


class Running:
    """A run of a program.

    Attributes:
        folder: The project's folder.
        stack: The stack's name as every backend knows it.
        preview: Nothing is to be changed.
        order: What the command of fleet's asks for that runs the program; ``None``: plain Pulumi runs it.
        run: As :attr:`fleet.plan.Change.run`.

    Raises:
        FleetError: As :meth:`Order.current`.
    """

    def __init__(self) -> None:
        self.folder = Path(pulumi.runtime.get_root_directory())
        self.stack = _full_name()
        self.preview = pulumi.runtime.is_dry_run()
        self.order = Order.current()
        self.run = self.order.run if self.order else secrets.token_hex(8)
        config = runtime_config.CONFIG.get() or runtime_config.get_config_env()
        self._config = {
            key: Secure(value) if runtime_config.is_config_secret(key) else value for key, value in config.items()
        }

    @classmethod
    def current(cls) -> Running:
        """The run that this is a part of: the same for all fleets of a program."""
        root = pulumi.runtime.get_root_resource()
        if root is None:
            raise pulumi.RunError("A `Fleet` is a part of a Pulumi program: run it by `pulumi up` or `fleet up`.")
        if root not in _RUNS:
            try:
                _RUNS[root] = cls()
            except FleetError as error:
                raise pulumi.RunError(str(error)) from None
        return _RUNS[root]

    def config(self, key: str) -> str | None:
        """A value of the stack's config, by its full key."""
        return self._config.get(key)

    @property
    def secrets(self) -> Secrets:
        """What is done with secrets that are to be generated."""
        return "imagine" if self.preview else "generate"

    @property
    def new_image(self) -> bool:
        """Whether nodes are to be re-provisioned if the lock has another image for them."""
        return bool(self.order and self.order.new_image)

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """The stack's state, as it is before the update: to be asked for before anything is declared.

        Secrets in it stay encrypted unless nodes are asked with them.

        Raises:
            FleetError: It cannot be read.
        """
        state = export(self.folder, self.stack, why=_WHY)
        if any(each["type"] == READY and is_encrypted(each.get("outputs")) for each in resources_of(state)):
            # The passphrase may have been typed, and then only Pulumi itself has it.
            with contextlib.suppress(FleetError):
                return export(self.folder, self.stack, "--show-secrets", why=_WHY)
        return state

    @contextlib.contextmanager
    def warning(self) -> Iterator[None]:
        """A context in which what fleet warns of is shown by Pulumi."""
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always", FleetWarning)
            yield
        for each in noted:
            pulumi.log.warn(str(each.message))

    async def checked(
        self,
        plan: FleetPlan,
        platform: Platform,
        *,
        recover: str,
        fleet: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> FleetPlan:
        """A plan that knows what is deployed, and may be declared.

        What an interrupted update left is looked for, what deployed nodes lack is mended, changes that deployed
        resources cannot take are refused, and what the update adds to the history is noted.

        Args:
            plan: The plan.
            platform: Where.
            recover: The command that recovers the stack, for errors.
            fleet: The fleet's name in the program; empty: it is the one of the project's spec.
            options: The platform's options, where they are not the stack's config's.

        Raises:
            FleetError: Says what, and what to change.
        """
        state = own_state(fleet, self.state) if fleet else self.state
        resources = resources_of(state)
        for line in await check_interrupted(state, platform, command=recover, preview=self.preview):
            pulumi.log.warn(line)
        plan = with_state(plan, resources)
        platform.check_deployed(plan)
        for line in immutable_settings(plan, platform):
            pulumi.log.warn(line)
        if not self.preview:
            platform.repair()
        order = self.order
        if order:
            plan = ordered(order, fleet, plan, Compared(resources, platform))
        plan = with_change(
            plan,
            platform,
            resources,
            run=self.run,
            command=order.command if order else "pulumi up",
            only=order.only(fleet) if order else None,
        )
        if order:
            answer = Answer(fleet, platform.name if fleet else "", options or {}, plan)
            await asyncio.to_thread(tell, order, answer)
        return plan


_WHY = "which says where its data disks are, "
_RUNS: WeakKeyDictionary[pulumi.Resource, Running] = WeakKeyDictionary()


def _full_name() -> str:
    """The program's stack as every backend knows it: with its organization, where there are such."""
    organization = pulumi.get_organization()
    # What backends say that know none.
    if organization == "organization":
        return pulumi.get_stack()
    return f"{organization}/{pulumi.get_project()}/{pulumi.get_stack()}"
