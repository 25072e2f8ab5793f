"""The Python API: what `fleet` exports, that it costs nothing to import, and that type checkers know it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fleet
from fleet.dynamic import tokens
from fleet.errors import UsageError
from fleet.program.component import Fleet, FleetNode
from fleet.spec.model import FleetSpec, Group
from tests.models import built, places
from tools.cache import ROOT

EXPORTED = """
AwsOptions ComposeRef Container DataDisk DigitalOceanOptions DrainPlan Fleet FleetError FleetNode FleetSpec FleetWarning
GcpOptions Generate Group GroupPort Image LibvirtOptions Network NodeOverride NodeReport PlatformOptions Pod Port
PrivateNetwork Probe QemuOptions Rollout SecretSource SnippetRef UsageError Variable Volume
""".split()

PROGRAM = """\
import pulumi

from fleet import Container, DataDisk, Fleet, FleetSpec, Group, Port, QemuOptions

spec = FleetSpec(
    version=1,
    name="web",
    groups={
        "web": Group(
            count=2,
            containers={
                "hello": Container(
                    image="docker.io/library/caddy:2",
                    ports=[Port(node=8080, container=80)],
                    environment={"DB": "${db}"},
                )
            },
            data_disks={"site": DataDisk(size_gib=1, mount="/var/lib/site")},
        )
    },
)
shop = Fleet(
    "shop",
    spec,
    platform=QemuOptions(memory_mib=2048),
    variables={"db": pulumi.Output.from_input("db.example"), "port": 5432},
    secrets={"token": pulumi.Output.secret("x")},
    opts=pulumi.ResourceOptions(protect=True),
)
address: pulumi.Output[str] = shop.nodes["web-0"].address
pulumi.export("address", address)
"""
WRONG = {
    "count=2": 'count="two"',
    "size_gib=1": 'gib="1"',
    "platform=QemuOptions(memory_mib=2048)": "platform=3",
    '"port": 5432': '"port": [5432]',
    '"web-0"].address': '"web-0"].adress',
}
CHECKERS = {
    "mypy": ["mypy", "--strict", "--config-file=", "--cache-dir", str(ROOT / ".mypy_cache/programs")],
    "pyright": ["basedpyright", "--level", "error", "--pythonpath", sys.executable],
}
"""Type checkers; the second one is what brings Pyright as a wheel, with its own Node.js."""


def test_what_is_exported_is_pinned_and_all_of_it_is_there() -> None:
    assert sorted(fleet.__all__) == EXPORTED
    assert set(fleet.__all__) <= set(dir(fleet))
    for name in EXPORTED:
        assert inspect.isclass(getattr(fleet, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'Flete'"):
        _ = fleet.Flete  # type: ignore[attr-defined]


def test_the_component_is_pinned() -> None:
    assert tokens.FLEET == "fleet:components:Fleet"
    parameters = ["self", "name", "spec", "platform", "options", "variables", "secrets", "opts"]
    assert list(inspect.signature(Fleet.__init__).parameters) == parameters
    assert set(Fleet.__annotations__) == {"nodes", "names", "ready"}
    documented = inspect.getdoc(FleetNode) or ""
    for attribute in ("name", "names", "address", "endpoints", "ssh", "console", "ready"):
        assert f"    {attribute}: " in documented


def test_importing_fleet_imports_nothing_that_takes_time() -> None:
    code = "import sys; before = {*sys.modules}; import fleet; print(*sorted({*sys.modules} - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = [module for module in loaded if module.partition(".")[0] == "fleet"]
    assert own == ["fleet", "fleet._moved"]
    # `typing` alone, with what it imports, takes ten times as long as all of these.
    assert {module.partition(".")[0] for module in loaded} <= {"fleet", "__future__", "importlib", "warnings"}


@pytest.mark.long
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_know_the_api_and_see_what_is_wrong(checker: str, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(PROGRAM)
    for number, (right, wrong) in enumerate(WRONG.items()):
        assert right in PROGRAM
        (tmp_path / f"wrong{number}.py").write_text(PROGRAM.replace(right, wrong))
    command = [sys.executable, "-m", *CHECKERS[checker], *sorted(map(str, tmp_path.glob("*.py")))]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result
    lines = [line for line in result.stdout.splitlines() if " error: " in line or " - error: " in line]
    told = {Path(line.strip().partition(":")[0]).name for line in lines}
    assert told == {f"wrong{number}.py" for number in range(len(WRONG))}, result.stdout


def test_a_spec_as_models_is_the_document_that_it_was_read_from(tmp_path: Path) -> None:
    checked = 0
    for where in places(FleetSpec):
        for value in ("x", 1, True, False, 1.5, "8080:80", "/a:/b", "10.0.0.0/24", "true"):
            document = built(FleetSpec, where, value)
            try:
                spec = FleetSpec.model_validate(document)
            except ValueError:
                continue
            path, text = spec.written(tmp_path)
            (tmp_path / "again.yaml").write_text(text or "")
            again = FleetSpec.load(tmp_path / "again.yaml")
            assert path == tmp_path / "spec"
            assert again.model_dump() == spec.model_dump(), where
            checked += 1
    assert checked > 100
    for off in ("report: false", "groups: {web: {settle: false}}"):
        (tmp_path / "off.yaml").write_text(f"version: 1\nname: web\n{off}\n" + ("groups: {web: {}}" * (off[0] == "r")))
        spec = FleetSpec.load(tmp_path / "off.yaml").model_copy(update={"name": "other"})
        _, text = spec.written(tmp_path)
        (tmp_path / "again.yaml").write_text(text or "")
        assert FleetSpec.load(tmp_path / "again.yaml").model_dump() == spec.model_dump()


def test_what_is_switched_off_is_none_in_python_and_false_in_a_document(tmp_path: Path) -> None:
    spec = FleetSpec(version=1, name="web", report=None, groups={"web": Group(settle=None)})
    _, text = spec.written(tmp_path)
    assert text == "version: 1\nname: web\nreport: false\ngroups:\n  web:\n    settle: false\n"
    file = tmp_path / "fleet.yaml"
    for right, wrong in (("report: false", "report:"), ("settle: false", "settle:")):
        file.write_text(text.replace(right, wrong))
        with pytest.raises(UsageError):
            FleetSpec.load(file)


def test_a_spec_that_was_loaded_and_not_changed_is_its_file(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("version: 1\nname: web\ngroups: {web: {}}\n")
    spec = FleetSpec.load(file)
    assert spec.written(Path("/elsewhere")) == (file, None)
    changed = spec.model_copy(update={"name": "other"})
    assert changed.written(Path("/elsewhere")) == (file, "version: 1\nname: other\ngroups:\n  web: {}\n")


def test_every_module_of_the_api_is_what_the_checkers_see() -> None:
    source = (ROOT / "fleet/__init__.py").read_text()
    for home, names in fleet._HOMES.items():
        for name in names:
            assert getattr(importlib.import_module(home), name) is getattr(fleet, name)
            assert f"from {home} import" in source
