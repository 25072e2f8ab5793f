"""What stopped a user's program: one paragraph of an exception, whoever hosts the program."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path

import pulumi
import pytest

from fleet.ops.tracebacks import in_short
from fleet.program.component import FleetNode, _Nodes

HOSTS = {
    "pulumi": "Program failed with an unhandled exception:\n{trace}",
    "inline": "python inline source runtime error: {error}\n{trace}",
    "again": "an unhandled error occurred: python inline source runtime error: {error}\n{trace}",
}

PROGRAMS = {
    "a misspelled field": (
        'from fleet import Group\n\nGroup(cuont=1, count="2")\n',
        "__main__.py:3: Group has no cuont. Did you mean `count`?",
    ),
    "a word of another tool": (
        'from fleet import Container\n\nContainer(image="docker.io/library/caddy:2", env={"PASSWORD": "hunter2"})\n',
        "__main__.py:3: Container has no env. Did you mean `environment`?",
    ),
    "a wrong type": (
        'from fleet import Group\nGroup(count="hunter2")\n',
        "__main__.py:2: Group: count should be a valid integer, unable to parse string as an integer.",
    ),
    "several wrong fields": (
        'from fleet import Group\nGroup(count="hunter2", cuont=1)\n',
        (
            "__main__.py:2: Group: count should be a valid integer, unable to parse string as an integer. "
            "Group has no cuont. Did you mean `count`?"
        ),
    ),
    "an option of a platform": (
        "from fleet import QemuOptions\nQemuOptions(port_ofset=1)\n",
        "__main__.py:2: Options has no port_ofset. Did you mean `port_offset`?",
    ),
    "a contradiction": (
        "from fleet import Probe\nProbe()\n",
        "__main__.py:2: Probe: it: a probe is one of",
    ),
    "an output that shapes the fleet": (
        "import pulumi\nfrom fleet import Group\nGroup(count=pulumi.Output.from_input(1))\n",
        (
            "__main__.py:3: Group: count is an output, and what shapes a fleet is plain. Outputs are for texts in "
            "snippets and containers: pass it in `variables`, and write `${name}` in the text."
        ),
    ),
    "a wrong name to import": (
        "from fleet import Contaner\n",
        "__main__.py:1: fleet has no Contaner. Did you mean `Container`?",
    ),
    "an error of fleet's": (
        'from fleet import FleetSpec\nFleetSpec.load("fleeet.yaml")\n',
        "__main__.py:2: fleeet.yaml: There is no such spec.",
    ),
    "the user's own, below a function": (
        'def port():\n    return {}["web"]\n\nport()\n',
        "__main__.py:2: KeyError: 'web'",
    ),
    "one that follows another": (
        'try:\n    {}["web"]\nexcept KeyError:\n    raise RuntimeError("no port\\nof web")\n',
        "__main__.py:4: RuntimeError: no port\nof web",
    ),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_an_exception_is_one_paragraph_with_the_programs_line(what: str, tmp_path: Path) -> None:
    source, expected = PROGRAMS[what]
    (tmp_path / "__main__.py").write_text(source)
    with pytest.raises(Exception) as caught:  # noqa: PT011  (each raises its own)
        runpy.run_path(str(tmp_path / "__main__.py"), run_name="__main__")
    trace, error = "".join(traceback.format_exception(caught.value)), str(caught.value)
    for host in HOSTS.values():
        shown = in_short(host.format(trace=trace, error=error), tmp_path)
        assert shown.startswith(expected)
        assert "Traceback" not in shown
        assert "hunter2" not in shown


def test_a_program_that_the_engine_ended_says_nothing(tmp_path: Path) -> None:
    trace = 'Traceback (most recent call last):\n  File "/x.py", line 1, in f\nException: context canceled\n'
    assert in_short(f"python inline source runtime error: context canceled\n{trace}", tmp_path) == ""


def test_all_of_an_exception_is_shown_to_those_who_debug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_DEBUG", "1")
    trace = "Traceback (most recent call last):\nValueError: no port"
    assert trace in in_short(f"python inline source runtime error: no port\n{trace}", tmp_path)


def test_a_node_that_a_fleet_does_not_have_is_said_with_those_that_it_has() -> None:
    with pytest.raises(pulumi.RunError) as caught:
        _Nodes("shop", {"web-0": FleetNode("web-0", (), lambda _: pulumi.Output.from_input(""))})["wbe-0"]
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == "The fleet shop has no node 'wbe-0'. Did you mean `web-0`? It has: web-0."


def test_what_is_no_exception_stays_as_it_is(tmp_path: Path) -> None:
    assert in_short("an unhandled error occurred: fleet.yaml: no such spec", tmp_path) == "fleet.yaml: no such spec"
    assert (
        in_short("aws: no credentials\n  see the documentation", tmp_path)
        == "aws: no credentials\n  see the documentation"
    )
