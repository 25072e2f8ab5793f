"""Values that a program passes to a spec, and other stacks' outputs: the bytes of plain ones, noted where they go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet import platforms
from fleet.errors import FleetError, UsageError
from fleet.model import Secrecy
from fleet.plan import FleetPlan
from fleet.planner import plan_spec
from fleet.spec import Resolver
from fleet.spec.loader import secrecy_of
from fleet.spec.model import FleetSpec
from fleet.spec.python import text_of
from fleet.spec.values import Passed
from tests.models import built, places

SPEC = """\
version: 1
name: web
variables:
  plain: literal
{declared}
groups:
  web:
    count: 2
    snippets: [{{path: motd.bu, variables: [db]}}]
  app:
    containers:
      app: {{image: docker.io/library/caddy:2, environment: {{DB: "${{db}}", PLAIN: "${{plain}}"}}}}
    nodes:
      0: {{}}
  idle: {{}}
"""
SNIPPET = """\
variant: fcos
version: 1.6.0
storage: {files: [{path: /etc/motd, contents: {inline: "db is ${db}"}}]}
"""

Plan = Callable[..., FleetPlan]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    def planned(resolver: Resolver, declared: str = "") -> FleetPlan:
        (tmp_path / "motd.bu").write_text(SNIPPET)
        (tmp_path / "fleet.yaml").write_text(SPEC.format(declared=declared))
        qemu = platforms.platform("qemu", project=tmp_path, stack="test")
        return plan_spec(tmp_path / "fleet.yaml", resolver, qemu, need_lock=False)

    return planned


def configs(plan: FleetPlan) -> dict[str, tuple[str, str]]:
    return {node.name: (node.config.ignition, node.delivery.user_data) for node in plan.nodes}


@pytest.mark.parametrize("value", ["db.example", "", "a: b # c", "10", 10, 1.5, True, "${plain}", "ü\n"])
def test_an_output_that_is_known_gives_the_bytes_of_the_plain_value(plan: Plan, value: str | int | float) -> None:
    literal = repr(value) if not isinstance(value, str) else '"' + value.replace("\n", "\\n") + '"'
    literal = literal.lower() if isinstance(value, bool) else literal
    written = plan(Resolver(reveal=True), f"  db: {literal}")
    for passed in (Passed(value), Passed(value, is_output=False)):
        given = plan(Resolver(reveal=True, variables={"db": passed}))
        assert configs(given) == configs(written)
        assert not any(node.secret or node.pending for node in given.nodes)
        held = {node.name: dict(node.outputs) for node in given.nodes if node.outputs}
        expected = {key: {"variable db": str(value)} for key in ("web-0", "web-1", "app-0")}
        assert held == (expected if passed.is_output else {})


def test_a_secret_output_gives_the_bytes_of_a_secret_of_the_spec(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "s3cret-address")
    written = plan(Resolver(reveal=True), "  db: {secret: address}\nsecrets: {address: {env: DB}}")
    given = plan(Resolver(reveal=True, variables={"db": Passed("s3cret-address", is_secret=True)}))
    assert configs(given) == configs(written)
    assert [node.name for node in given.nodes if node.secret] == ["web-0", "web-1", "app-0"]
    for node in given.nodes:
        assert "s3cret-address" not in node.shown
        assert ("(secret%20variable%20db)" in node.shown or "(secret variable db)" in node.shown) == node.secret
    assert next(iter(given.nodes)).hidden == {"variable db": "s3cret-address"}


def test_what_is_not_known_yet_is_said_of_the_nodes_that_hold_it_and_the_others_are_planned_wholly(plan: Plan) -> None:
    unknown = plan(Resolver(reveal=True, variables={"db": Passed("not-known-yet-db", is_known=False)}))
    known = plan(Resolver(reveal=True, variables={"db": Passed("db.example")}))
    pending = {node.name: node.pending for node in unknown.nodes}
    assert pending == {**dict.fromkeys(("web-0", "web-1", "app-0"), ("variable db",)), "idle-0": ()}
    assert configs(unknown)["idle-0"] == configs(known)["idle-0"]


def test_no_output_fills_what_shapes_a_fleet(tmp_path: Path) -> None:
    qemu = platforms.platform("qemu", project=tmp_path, stack="test")
    refused = 0
    for where in places(FleetSpec):
        if secrecy_of(where)[1] is not Secrecy.PLAIN:
            continue
        document = built(FleetSpec, where, "${db}")
        resolver = Resolver(reveal=True, variables={"db": Passed("x")})
        with pytest.raises(UsageError, match=r"The variable db fills `.*`, which shapes the fleet"):
            plan_spec(tmp_path / "spec", resolver, qemu, need_lock=False, text=text_of(document))
        refused += 1
    assert refused > 20


def test_a_value_is_of_the_type_that_the_spec_says(plan: Plan) -> None:
    declared = "  db: {config: db, type: integer}"
    assert configs(plan(Resolver(reveal=True, variables={"db": Passed("10")}), declared)) == configs(
        plan(Resolver(reveal=True), "  db: 10")
    )
    with pytest.raises(UsageError, match="The variable db should be of type integer, but is 'ten'"):
        plan(Resolver(reveal=True, variables={"db": Passed("ten")}), declared)


def test_a_variable_is_the_output_of_another_stack(plan: Plan) -> None:
    declared = "  db: {stack: org/network/prod, output: db_address}"

    def read(stack: str, output: str) -> Passed:
        assert (stack, output) == ("org/network/prod", "db_address")
        return Passed("db.example")

    def fail(stack: str, output: str) -> Passed:
        raise FleetError(f"Stack {stack} has no output {output}.", fix="Deploy it.")

    literal = plan(Resolver(reveal=True), "  db: db.example")
    assert configs(plan(Resolver(reveal=True, references=read), declared)) == configs(literal)
    # Without a stack, what can be shown is.
    masked = plan(Resolver(), declared)
    assert [node.name for node in masked.nodes if node.pending] == ["web-0", "web-1", "app-0"]
    with pytest.raises(
        FleetError, match=r"fleet.yaml:5:3: Stack org/network/prod has no output db_address. Deploy it."
    ):
        plan(Resolver(reveal=True, references=fail), declared)
    with pytest.raises(UsageError, match="an output of another stack is"):
        plan(Resolver(reveal=True), "  db: {stack: org/network/prod}")


_DECLARED = "web:\n    containers: {app: {image: docker.io/library/caddy:2%s}}\n"
VARIABLES = {
    "declared": ("variables: {name: text}", _DECLARED % "", {}),
    "declared as a secret": ("variables: {name: {secret: token}}\nsecrets: {token: {env: HOME}}", _DECLARED % "", {}),
    "a placeholder": ("", _DECLARED % ", environment: {A: '-${name}-'}", {}),
    "a snippet": ("", "web: {snippets: [{path: a.bu, variables: [name]}]}", {"a.bu": SNIPPET.replace("db}", "name}")}),
    "a node's snippet": (
        "",
        "web: {nodes: {0: {snippets: [{path: a.bu, variables: [name]}]}}}",
        {"a.bu": SNIPPET.replace("db}", "name}")},
    ),
    "a Quadlet file": (
        "",
        "web: {quadlets: [{path: a.container, variables: [name]}]}",
        {"a.container": "[Container]\nImage=docker.io/library/caddy:2\nEnvironment=A=${name}\n"},
    ),
    "a Compose file": (
        "",
        "web: {compose: compose.yaml}",
        {"compose.yaml": 'services: {app: {image: "docker.io/library/caddy:2", environment: {A: "${name:+a}"}}}\n'},
    ),
}
SECRETS = {
    "declared": ("secrets: {name: {env: HOME}}", _DECLARED % "", {}),
    "a container": ("", _DECLARED % ", secrets: [name]", {}),
    "a variable": ("variables: {it: {secret: name}}", _DECLARED % "", {}),
    "a Quadlet file": (
        "",
        "web: {quadlets: [a.container]}",
        {"a.container": "[Container]\nImage=docker.io/library/caddy:2\nSecret=name\n"},
    ),
}


@pytest.mark.parametrize(
    ("kind", "head", "group", "files"),
    [
        pytest.param(kind, *case, id=f"{kind}: {label}")
        for kind, cases in (("variables", VARIABLES), ("secrets", SECRETS))
        for label, case in cases.items()
    ],
)
def test_what_is_passed_is_declared_or_used_and_other_names_are_refused(
    tmp_path: Path, kind: str, head: str, group: str, files: dict[str, str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "fleet.yaml").write_text(f"version: 1\nname: web\n{head}\ngroups:\n  {group}\n")
    qemu = platforms.platform("qemu", project=tmp_path, stack="test")

    def plan(**passed: dict[str, Passed]) -> FleetPlan:
        return plan_spec(tmp_path / "fleet.yaml", Resolver(reveal=True, **passed), qemu, need_lock=False)  # type: ignore[arg-type]

    value = Passed("text", is_output=False)
    plan(**{kind: {"name": value}})
    if "compose" in group:
        return
    with pytest.raises(UsageError) as refused:
        plan(**{kind: {"name": value, "nmae": value}})
    assert str(refused.value) == (
        f"{tmp_path}/fleet.yaml:1:1: The program passes the {kind[:-1]} nmae, which the spec neither declares nor "
        "uses. Did you mean `name`?"
    )
    other = {"variables": "secrets", "secrets": "variables"}[kind]
    with pytest.raises(UsageError, match=f"It is a {kind[:-1]} there: pass it in `{kind}`"):
        plan(**{kind: {"name": value}, other: {"name": value}})


def test_a_variable_is_used_wherever_it_may_stand(tmp_path: Path) -> None:
    qemu = platforms.platform("qemu", project=tmp_path, stack="test")
    resolver = Resolver(reveal=True, variables={"db": Passed("x", is_output=False)})
    errors = []
    for where in places(FleetSpec):
        text = text_of(built(FleetSpec, where, "${db}"))
        try:
            plan_spec(tmp_path / "spec", resolver, qemu, need_lock=False, text=text)
        except FleetError as error:
            errors.append(str(error))
    # Of some fields, the text is no value.
    assert not [error for error in errors if "neither declares nor uses" in error]
