"""Fleet: a fleet as a component of any Pulumi program, beside other resources.

What shapes a fleet is plain, so the names of its nodes are known at once. Values in its snippets and containers may be
outputs of other resources: the component waits for them, within the run that Pulumi waits for, and then plans with the
very values, so that its configs are those that plain values would give. In a preview, a value may not be known yet. The
plan is then made with another text in its place, and of the nodes that hold it, nothing that follows from their configs
is known either.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, NoReturn, TypeVar

import pulumi

from fleet import platforms
from fleet.components.group import NodeGroup, declare
from fleet.components.node import Node
from fleet.dynamic import tokens
from fleet.errors import FleetError, UsageError, unexpected
from fleet.files import stack_folder
from fleet.hints import nearest
from fleet.plan import FleetPlan
from fleet.planner import plan_fleet, plan_loaded, plan_spec
from fleet.platforms.base import Platform
from fleet.platforms.options import PlatformOptions
from fleet.program.fleets import about, platform_stack, program_name
from fleet.program.references import References
from fleet.program.running import Running
from fleet.program.stack_plan import Secrets, platform_options, stack_resolver
from fleet.program.topology import TOPOLOGY_VERSION, Topology, topology_of
from fleet.spec import FleetSpec, LoadedSpec, Resolver, load_spec
from fleet.spec.loader import warn_of_no_version
from fleet.spec.values import Passed

T = TypeVar("T")
Value = pulumi.Input[str] | pulumi.Input[int] | pulumi.Input[float] | pulumi.Input[bool]
"""What a variable may be given."""

_STANDING = ("not-known-yet-{}", "192.0.2.1", "https://not-known-yet.invalid/", "/not-known-yet", "1")
"""What stands for a value that is not known yet: the first that is valid where the value goes."""


class FleetNode:
    """A node of a fleet, for what else a program declares.

    Attributes:
        name: ``<group>-<index>``.
        names: The names in the DNS that lead to it, and to the others of its group.
        address: The address that reaches it, whichever machine it is.
        endpoints: By port of the node, as text: "host:port" that reaches it from outside.
        ssh: The command that logs in.
        console: Where its serial console can be read, in words or as a path.
        ready: Its name, known once it is ready; what depends on it waits until then.
    """

    def __init__(self, name: str, names: Sequence[str], of: Callable[[str], pulumi.Output[Any]]) -> None:
        self.name, self.names = name, tuple(names)
        self.address: pulumi.Output[str] = of("address")
        self.endpoints: pulumi.Output[Mapping[str, str]] = of("endpoints")
        self.ssh: pulumi.Output[str] = of("ssh")
        self.console: pulumi.Output[str] = of("console")
        self.ready: pulumi.Output[str] = of("ready").apply(lambda _: name)

    def __repr__(self) -> str:
        return f"<FleetNode {self.name}>"


class UnknownNodeError(pulumi.RunError, KeyError):
    """A fleet has no node of a name. It is no stack of calls that says so: Pulumi shows the message alone."""

    __str__ = Exception.__str__


class _Nodes(dict[str, FleetNode]):
    """A fleet's nodes, by name.

    Args:
        fleet: The fleet's name.
        nodes: They.
    """

    def __init__(self, fleet: str, nodes: Mapping[str, FleetNode]) -> None:
        super().__init__(nodes)
        self._fleet = fleet

    def __missing__(self, name: str) -> NoReturn:
        hint = nearest(str(name), self)
        raise UnknownNodeError(
            f"The fleet {self._fleet} has no node {name!r}. {hint} It has: {', '.join(self) or 'none'}.".replace(
                "  ", " "
            )
        )


class Fleet(pulumi.ComponentResource):
    """A fleet.

    Its type is ``fleet:components:Fleet``. The names of the resources below it begin with its own and a dash, so
    several fleets of one stack may have groups of the same name.

    Args:
        name: Its name in the program: a DNS label. Another name is another fleet.
        spec: What it is: models, :meth:`FleetSpec.load` of a file, or a file's path, relative to the project's folder.
        platform: Where it runs: a platform's name, or a platform's options; by default what the stack's config says.
        options: The options of the platform that is named; by default ``fleet:<platform>`` of the stack's config.
        variables: Values of the variables that the spec declares or uses, by name.
        secrets: Values of the secrets that it declares or uses, by name.
        opts: Resource options. What it depends on is there before any of its nodes is touched.

    Attributes:
        nodes: By name, such as "web-0".
        names: By name in the DNS, the addresses that it should resolve to.
        ready: The nodes' names, known once all are ready: ``fleet.ready.apply(...)`` waits for the whole fleet.

    Raises:
        pulumi.RunError: Anything is wrong with what it is given; Pulumi shows the message alone.
    """

    nodes: Mapping[str, FleetNode]
    names: pulumi.Output[Mapping[str, Sequence[str]]]
    ready: pulumi.Output[Sequence[str]]

    def __init__(
        self,
        name: str,
        spec: FleetSpec | str | PathLike[str],
        *,
        platform: str | PlatformOptions | None = None,
        options: Mapping[str, Any] | None = None,
        variables: Mapping[str, Value] | None = None,
        secrets: Mapping[str, pulumi.Input[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._run = run = Running.current()
        self._fleet = name
        self._references = References(run.folder)
        self._variables, self._secrets = dict(variables or {}), dict(secrets or {})
        try:
            _check_name(name)
            if isinstance(spec, FleetSpec):
                self._path, self._text = spec.written(run.folder)
            elif not isinstance(spec, str | PathLike):
                raise UsageError(
                    f"The spec of the fleet {name} is of type {type(spec).__name__}.",
                    fix="Pass a `FleetSpec`, or the path of a YAML file; `FleetSpec.model_validate` reads a mapping.",
                )
            else:
                self._path, self._text = run.folder / fspath(spec), None
            self._options, self._platform = self._placed(platform, options)
            self._platform.check_stack()
            # Before this program declares anything, which would change it.
            _ = run.state
            self._plan: FleetPlan | None = None
            if any(map(_is_later, (*self._variables.values(), *self._secrets.values()))):
                loaded, shape = self._shape()
            else:
                loaded, shape = self._at_once()
                self._plan = shape
            noted = about(self._platform.name, self._options, _topology(loaded, shape, self._platform))
        except FleetError as error:
            raise pulumi.RunError(str(error)) from None
        super().__init__(tokens.FLEET, name, None, opts)
        self.register_outputs(noted)
        self._after = _depended_on(opts)
        self._groups = asyncio.ensure_future(self._declared())
        groups = loaded.fleet.groups.items()
        self.nodes = _Nodes(
            name,
            {
                node.name: FleetNode(node.name, group.names, self._described(node.name))
                for each, group in groups
                for node in shape.groups[each].nodes
            },
        )
        self.names = self._output(_names)
        self.ready = self._output(
            lambda groups: pulumi.Output.all(*[n.ready.id for n in _nodes(groups).values()])
        ).apply(lambda _: list(self.nodes))

    def _placed(
        self, platform: str | PlatformOptions | None, options: Mapping[str, Any] | None
    ) -> tuple[Mapping[str, Any], Platform]:
        """The platform's options, and it."""
        run = self._run
        if isinstance(platform, PlatformOptions):
            if options is not None:
                raise UsageError(
                    f"The platform of the fleet {self._fleet} has its options already.", fix="Leave `options` out."
                )
            name = _platform_of(platform)
            options = platform.model_dump(mode="json", by_alias=True, exclude_unset=True)
        else:
            name, configured = platform_options(run.config, stack=pulumi.get_stack(), platform=platform)
            options = configured if options is None else options
        stack = platform_stack(pulumi.get_stack(), self._fleet)
        where = platforms.platform(name, options, project=run.folder, stack=stack, config=run.config)
        return dict(options), where

    def _shape(self) -> tuple[LoadedSpec, FleetPlan]:
        """The spec and its plan with whatever is valid in the places of outputs, which shape nothing."""

        def standing(text: str) -> tuple[LoadedSpec, FleetPlan]:
            resolver = self._resolver(
                {name: _standing(name, value, text) for name, value in self._variables.items()},
                {name: _standing(name, value, text) for name, value in self._secrets.items()},
                "imagine",
            )
            loaded = load_spec(self._path, resolver, self._platform.name, text=self._text)
            return loaded, plan_fleet(loaded, self._platform, None)

        return _first_valid(standing)

    def _at_once(self) -> tuple[LoadedSpec, FleetPlan]:
        """The spec and its plan, where there is nothing to wait for."""
        run = self._run
        variables, secrets = (
            {name: Passed(_scalar(name, value), is_output=False) for name, value in values.items()}
            for values in (self._variables, self._secrets)
        )
        resolver = self._resolver(variables, secrets, run.secrets)
        with run.warning():
            loaded = load_spec(self._path, resolver, self._platform.name, text=self._text)
            plan = plan_loaded(loaded, self._platform, need_lock=True, new_image=run.new_image)
            warn_of_no_version(loaded.document)
        return loaded, plan

    def _resolver(self, variables: Mapping[str, Passed], secrets: Mapping[str, Passed], access: Secrets) -> Resolver:
        run = self._run
        return stack_resolver(
            run.config,
            project=pulumi.get_project(),
            folder=run.folder,
            stack=run.stack,
            secrets=access,
            variables=variables,
            passed=secrets,
            references=self._references,
        )

    async def _declared(self) -> Mapping[str, NodeGroup]:
        """Wait for what the fleet is given, plan it, and declare its resources."""
        run, after = self._run, [*await _listed(self._after)]
        try:
            plan = await self._later(after) if self._plan is None else self._plan
            for node in plan.nodes:
                if node.pending:
                    pulumi.log.info(f"{node.name}: not known yet: {', '.join(node.pending)}", self)
            recover = f"fleet up {shlex.quote(str(run.folder))} --stack {shlex.quote(pulumi.get_stack())}"
            plan = await run.checked(plan, self._platform, recover=recover, fleet=self._fleet, options=self._options)
            return declare(
                self._platform,
                plan,
                folder=stack_folder(run.folder, platform_stack(pulumi.get_stack(), self._fleet)),
                parent=self,
                prefix=program_name(self._fleet, ""),
                after=after,
            )
        except FleetError as error:
            raise pulumi.RunError(str(error)) from None
        except pulumi.RunError:
            raise
        except Exception as error:
            raise pulumi.RunError(unexpected(error)) from None

    async def _later(self, after: list[pulumi.Resource]) -> FleetPlan:
        """The plan once all values are there; the resources that they come from are added to what is waited for."""
        variables, secrets = await self._awaited(self._variables, after), await self._awaited(self._secrets, after)
        with self._run.warning():
            return self._planned(variables, secrets)

    async def _awaited(self, values: Mapping[str, Any], after: list[pulumi.Resource]) -> dict[str, Passed]:
        """Values once they are there; the resources that they come from are added to what is waited for."""
        passed: dict[str, Passed] = {}
        for name, value in values.items():
            if not _is_later(value):
                passed[name] = Passed(_scalar(name, value), is_output=False)
                continue
            output: pulumi.Output[Any] = pulumi.Output.from_input(value)
            try:
                is_known, is_secret = await output.is_known(), await output.is_secret()
                resources, awaited = await output.resources(), await output.future()
            except Exception as error:
                # Pulumi shows what the program itself raised; it may be about a secret.
                raise FleetError(
                    f"{name}, which the fleet {self._fleet} is given, is an output that failed "
                    f"({type(error).__name__}).",
                    fix="Mend what the program makes it of, such as a function that `apply` runs.",
                ) from None
            after += sorted(resources - set(after), key=lambda resource: resource.pulumi_resource_name)
            if not is_known and not self._run.preview:
                raise FleetError(
                    f"{name}, which the fleet {self._fleet} is given, is not known in this update.",
                    fix="It comes from a resource that is not there yet, or changes, and that an update of some nodes "
                    "alone leaves as it is: `fleet up` updates all.",
                )
            known = _scalar(name, awaited) if is_known else ""
            passed[name] = Passed(known, is_secret, is_known)
        return passed

    def _planned(self, variables: Mapping[str, Passed], secrets: Mapping[str, Passed]) -> FleetPlan:
        def standing(text: str) -> FleetPlan:
            resolver = self._resolver(
                {name: _stood_for(name, passed, text) for name, passed in variables.items()},
                {name: _stood_for(name, passed, text) for name, passed in secrets.items()},
                self._run.secrets,
            )
            return plan_spec(
                self._path, resolver, self._platform, need_lock=True, new_image=self._run.new_image, text=self._text
            )

        if all(passed.is_known for passed in (*variables.values(), *secrets.values())):
            return standing("")
        return _first_valid(standing)

    def _described(self, node: str) -> Callable[[str], pulumi.Output[Any]]:
        return lambda key: self._output(lambda groups: _nodes(groups)[node].describe()[key])

    def _output(self, of: Callable[[Mapping[str, NodeGroup]], Any]) -> pulumi.Output[Any]:
        """An output of what is declared once all values are there."""

        async def output() -> pulumi.Output[Any]:
            return pulumi.Output.from_input(of(await self._groups))

        later = asyncio.ensure_future(output())

        def part(read: Callable[[pulumi.Output[Any]], Awaitable[T]]) -> Awaitable[T]:
            async def awaited() -> T:
                return await read(await later)

            return _Later(awaited)

        return pulumi.Output(
            part(lambda each: each.resources()),
            part(lambda each: each.future(with_unknowns=True)),
            part(lambda each: each.is_known()),
            part(lambda each: each.is_secret()),
        )


class _Later(Awaitable[T]):
    """What begins when it is awaited.

    The SDK awaits the parts of an output one after the other, and none after one that failed. Python would warn the
    user of each coroutine that was begun for nothing.

    Args:
        begin: Begins it.
    """

    def __init__(self, begin: Callable[[], Awaitable[T]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, T]:
        return self._begin().__await__()


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", name):
        raise UsageError(
            f"{name!r} is no name for a fleet.",
            fix="Take up to 32 lower-case letters, digits and dashes that begin with a letter, such as shop.",
        )


def _platform_of(options: PlatformOptions) -> str:
    """The name of the platform that options are of."""
    for name in platforms.names():
        try:
            if platforms.platform_class(name).options_model is type(options):
                return name
        except FleetError:
            continue
    raise UsageError(f"{type(options).__name__} has the options of no platform that is installed.")


def _topology(loaded: LoadedSpec, plan: FleetPlan, platform: Platform) -> Topology:
    """What the state has of a fleet's shape: nothing that a secret may be in."""
    shown = loaded.masked or loaded
    if loaded.values.secrets and not loaded.masked:
        return Topology(TOPOLOGY_VERSION, plan.name, platform.name, ())
    return topology_of(shown.fleet, plan, platform)


def _first_valid(standing: Callable[[str], T]) -> T:
    """What is made with the first text that is valid in the places of values that are not known yet.

    Raises:
        FleetError: None is; what is wrong with the first.
    """
    error: FleetError | None = None
    for text in _STANDING:
        try:
            return standing(text)
        except FleetError as reason:
            error = error or reason
    assert error is not None
    raise error


def _is_later(value: Any) -> bool:
    """Whether a value has to be waited for."""
    return isinstance(value, pulumi.Output | Awaitable)


def _standing(name: str, value: Any, text: str) -> Passed:
    """A value before it is awaited."""
    if _is_later(value):
        return Passed(text.format(name), is_known=False)
    return Passed(_scalar(name, value), is_output=False)


def _stood_for(name: str, passed: Passed, text: str) -> Passed:
    if passed.is_known:
        return passed
    return Passed(text.format(name), passed.is_secret, is_known=False)


def _scalar(name: str, value: Any) -> str | int | float | bool:
    if not isinstance(value, str | int | float | bool):
        raise UsageError(
            f"{name}, which a fleet is given, is {type(value).__name__}, and no text, number or boolean.",
            fix="Make a text of it: `output.apply(str)`, say.",
        )
    return value


def _depended_on(opts: pulumi.ResourceOptions | None) -> Any:
    return opts.depends_on if opts and opts.depends_on is not None else []


async def _listed(resources: Any) -> list[pulumi.Resource]:
    """The resources of the option ``depends_on``."""
    if isinstance(resources, pulumi.Output | Awaitable):
        resources = await pulumi.Output.from_input(resources).future()
    if isinstance(resources, pulumi.Resource):
        return [resources]
    return [each for item in resources or () for each in await _listed(item)]


def _nodes(groups: Mapping[str, NodeGroup]) -> dict[str, Node]:
    return {name: node for group in groups.values() for name, node in group.nodes.items()}


def _names(groups: Mapping[str, NodeGroup]) -> dict[str, list[pulumi.Input[str]]]:
    return {name: list(addresses) for group in groups.values() for name, addresses in group.names.items()}
