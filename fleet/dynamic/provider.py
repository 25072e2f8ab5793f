"""The base of fleet's own dynamic resources.

Pulumi dynamic providers that report errors as users should see them, and resources that name them in a way that
outlives the code's (:mod:`fleet.dynamic.tokens`).

A platform of another distribution makes resources of its own of the same two classes::

    class DiskProvider(Provider, name="acme_fleet.disks:DiskProvider"): ...

    class Disk(DynamicResource, token="pulumi-python:dynamic/acme:Disk", provider=DiskProvider): ...
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import ConfigureRequest, ResourceProvider
from pulumi.output import Unknown
from pulumi.runtime import rpc

from fleet.dynamic import tokens
from fleet.errors import FleetError, unexpected
from fleet.masking import Mask
from fleet.processes import kill_descendants, lost_reader


class Provider(ResourceProvider):
    """Base of fleet's providers, which have no attributes of their own.

    A class is defined with its ``name`` in states, by which it has to be importable for ever: ``module:Class``.
    """

    state_name: ClassVar[str]
    """The class' name in states."""

    def __init_subclass__(cls, *, name: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.state_name = name
        for method in ("check", "diff", "create", "read", "update", "delete"):
            if method in cls.__dict__:
                setattr(cls, method, _reported(cls.__dict__[method]))

    def configure(self, req: ConfigureRequest) -> None:
        """Prepare the process in which the engine runs the provider: no tracebacks, and it ends with the engine."""
        # The plugin sends the formatted exception to the user; without this, a FleetError comes with a traceback.
        sys.tracebacklimit = 0
        _end_with_engine()


class DynamicResource(pulumi.CustomResource):
    """A resource that a :class:`Provider` makes.

    It is to Pulumi what :class:`pulumi.dynamic.Resource` is, but what the state has of the provider is its name
    alone.

    A class is defined with its type, ``token``, and the class of its ``provider``.

    Args:
        name: The resource's name.
        props: Its inputs.
        opts: Resource options.
    """

    state_type: ClassVar[str]
    """The resource's type."""
    state_provider: ClassVar[str]
    """Its provider, as the state has it."""

    def __init_subclass__(cls, *, token: str, provider: type[Provider], **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.state_type, cls.state_provider = token, tokens.pickled(provider.state_name)

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(self.state_type, name, {**props, tokens.PROVIDER: self.state_provider}, opts)


@functools.cache
def _end_with_engine() -> None:
    """From now on, end this process, and what it has started, when the engine is gone, however it went.

    The engine reads the standard output of its plugins for as long as it lives (``pkg/resource/plugin/plugin.go`` of
    github.com/pulumi/pulumi), so the pipe's other end closes when it dies, whichever shells and language hosts stand
    between it and this process, and whoever becomes its parent then. Nothing is asked of an engine that lives.
    """
    # One of its own: a function of the user's may redirect the standard output.
    output = os.dup(sys.__stdout__.fileno() if sys.__stdout__ else 1)

    def watch() -> None:
        try:
            lost_reader(output, wait=True)
            kill_descendants(os.getpid())
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


NOTE = "fleet: "
"""What a line on a provider's standard error begins with that is meant for the user; the engine shows all of them."""


def tell(text: str) -> None:
    """Tell the user something while a provider works: plain ``pulumi`` shows it among the diagnostics.

    Args:
        text: A sentence or two, in one line.
    """
    print(f"{NOTE}{text}", file=sys.stderr, flush=True)


class UnexpectedError(Exception):
    """An exception that is no FleetError, as the user should see it."""


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except FleetError as error:
            error.hide(_mask(args))
            raise
        except Exception as error:
            raise UnexpectedError(_mask(args)(unexpected(error))) from None

    return wrapper


def _mask(arguments: Sequence[Any]) -> Mask:
    """What hides the secrets that a provider's method was told of: the property ``hidden``."""
    mappings = [
        each["hidden"] for each in arguments if isinstance(each, Mapping) and isinstance(each.get("hidden"), dict)
    ]
    return Mask({name: value for hidden in mappings for name, value in hidden.items() if isinstance(value, str)})


def known(value: Any) -> bool:
    """Whether an input of ``diff`` or ``check`` has a value yet; in a preview, another resource's output has not."""
    if isinstance(value, Unknown) or value == rpc.UNKNOWN:
        return False
    if isinstance(value, dict):
        return all(known(item) for item in value.values())
    if isinstance(value, list):
        return all(known(item) for item in value)
    return True
