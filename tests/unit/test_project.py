"""Where a project's files are: where Pulumi has them."""

from __future__ import annotations

import itertools

import pytest

from fleet.boundary import Boundary
from fleet.program.secrets import keep_secret
from fleet.project import PROJECT_FILES, Project
from tests.conftest import FLEET, Folder


@pytest.mark.system
@pytest.mark.parametrize(("name", "settings"), [*itertools.product(PROJECT_FILES, (".", "stacks"))])
def test_a_stacks_config_is_where_pulumi_writes_it(
    folder: Folder, name: str, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(
        name,
        f'{{"name": "web", "runtime": "python", "stackConfigDir": "{settings}", "backend": {{"url": "file://."}}}}\n',
    )
    assert Boundary.of(folder.path / "fleet.yaml").root == folder.path
    project = Project.around(folder.path / "fleet.yaml")
    (folder.path / settings).mkdir(exist_ok=True)
    assert folder.pulumi("stack", "init", "test").status == 0
    assert folder.pulumi("config", "set", "greeting", "hello", "--stack", "test").status == 0
    for stack in ("test", "organization/web/test"):
        assert project.settings_file(stack).is_file()
        assert project.plain_config(stack) == {"web:greeting": "hello"}
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    monkeypatch.setenv("PULUMI_HOME", folder.environment["PULUMI_HOME"])
    monkeypatch.setenv("PATH", f"{folder.environment['PATH']}:{FLEET.parent}")
    assert keep_secret(folder.path, "test", "web:key", lambda: "generated", None) == "generated"
    assert folder.secrets() == {"web:key": "generated"}
    assert project.plain_config("test")["web:key"] == "(secret web:key)"
