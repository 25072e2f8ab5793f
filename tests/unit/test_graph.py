"""``fleet graph``: pictures that are well formed whatever a fleet's things are called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.ops.graph import Format, drawn
from fleet.ops.graph.layout import arranged, columns_of
from fleet.ops.graph.picture import picture_of
from fleet.ops.topology import read_topology
from fleet.program.topology import (
    TOPOLOGY_VERSION,
    Endpoint,
    Topology,
    TopologyContainer,
    TopologyDisk,
    TopologyGroup,
    TopologyMount,
    TopologyNetwork,
    TopologyNode,
    TopologyPod,
    TopologyPort,
    with_states,
)
from tests.conftest import Folder
from tests.unit.test_topology import WHOLE
from tools.cache import ROOT

FORMS: tuple[Format, ...] = get_args(Format)
SVG = "{http://www.w3.org/2000/svg}"

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ['"', "\\", 'a\\"', "</title>", "<script>alert(1)</script>", "&amp;", "#35;", "a]", "`b`", "- c", "1. d", "\n", "…"]
)
"""What a name is at its worst: a name of the spec cannot be so, an image or a volume's source can."""
SOME = st.lists(TEXT, max_size=3, unique=True).map(tuple)
NODES = st.lists(st.builds(TopologyNode, TEXT, st.integers(0, 9), TEXT, TEXT, snippets=SOME, state=TEXT), max_size=12)
ENDPOINTS = st.tuples(st.builds(Endpoint, st.just(80), st.just("tcp"), TEXT, st.integers(1, 65535)))


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Any topology, which may be none of any spec: circles, and names of what is not there."""
    names = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    named = st.sampled_from(names) | TEXT
    several = st.lists(named, max_size=2).map(tuple)
    mounts = st.builds(TopologyMount, TEXT, TEXT, st.sampled_from(["disk", "volume", "path"]), named)
    containers = st.builds(
        TopologyContainer, named, TEXT, st.booleans(), st.sampled_from(["service", "oneshot", "timer"]), TEXT, TEXT,
        named, several, several, st.lists(mounts, max_size=2).map(tuple), several, SOME, several, st.booleans(),
    )  # fmt: skip
    ports = st.builds(
        TopologyPort, st.integers(1, 65535), st.sampled_from(["tcp", "udp"]),
        st.sampled_from(["ssh", "report", "container", "pod", "other"]), named, st.none() | st.integers(1, 9), SOME,
    )  # fmt: skip

    def apart(things: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(things, max_size=most, unique_by=lambda thing: thing.name).map(tuple)

    groups = st.builds(
        TopologyGroup, named, st.integers(0, 9), TEXT, TEXT, st.sampled_from(["recreate", "surge"]),
        st.integers(1, 9), st.booleans(), several, SOME, NODES.map(tuple), st.lists(ports, max_size=4).map(tuple),
        apart(containers, 4),
        apart(st.builds(TopologyPod, named, several, several, SOME, TEXT), 2),
        apart(st.builds(TopologyNetwork, named, SOME, st.booleans(), several), 2),
        SOME, apart(st.builds(TopologyDisk, named, st.integers(1, 9), TEXT, TEXT), 2),
        SOME, st.booleans(),
    )  # fmt: skip
    return Topology(TOPOLOGY_VERSION, draw(TEXT), draw(TEXT), draw(apart(groups, 3)), draw(TEXT | st.just("")))


def visible(text: str) -> str:
    """A text as a picture has it: what nobody can see is a sign that says so."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def texts(topology: Topology) -> Iterator[str]:
    """What a picture must say."""
    picture = picture_of(topology)
    yield from filter(None, (picture.title, picture.about, picture.network))
    for frame in picture.frames:
        yield frame.title
        for box in frame.boxes:
            yield from box.texts


@settings(max_examples=40)
@given(topologies())
def test_an_svg_is_well_formed_and_says_every_text(topology: Topology) -> None:
    root = ElementTree.fromstring(drawn(topology, "svg"))
    assert root.tag == f"{SVG}svg"
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert tags <= {
        "svg", "title", "desc", "style", "defs", "marker", "path", "rect", "circle", "g", "text"
    }  # fmt: skip
    # Nothing outside of the file, and nothing that runs.
    assert not [name for each in root.iter() for name in each.attrib if name.startswith("on") or "href" in name]
    said = "\n".join("".join(each.itertext()) for each in root.iter() if each.tag != f"{SVG}style")
    missing = [text for text in texts(topology) if visible(text) not in said]
    assert not missing


@settings(max_examples=40)
@given(topologies())
def test_a_dot_file_has_every_text_as_a_label(topology: Topology) -> None:
    text = drawn(topology, "dot")
    # The lexer of quoted strings: a backslash and a quotation mark are one, everything else is as it stands.
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text)
    assert re.fullmatch(r"[\w\s\[\]{}=,.>-]*", rest), rest
    shown = {
        re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], each).replace("&amp;", "&")
        for each in strings
    }
    said = {line for each in shown for line in each.split("\n")}
    assert not [each for each in texts(topology) if visible(each) not in said]
    assert rest.count("{") == rest.count("}")


@settings(max_examples=40)
@given(topologies())
def test_a_flowchart_has_every_text_as_a_label(topology: Topology) -> None:
    text = drawn(topology, "mermaid")
    label = r'"((?:[\w .,/-]|#\d+;|<br>)*)"'
    begin, end = r"(?:\(\[|\(|\[\[|\[\(|\[|\{\{)", r"(?:\]\)|\)|\]\]|\)\]|\]|\}\})"
    line = re.compile(
        rf"flowchart LR|end|subgraph \w+\[{label}\]|\w+{begin}{label}{end}"
        r'|\w+ (?:-->|---|-\.->) \w+|\w+ -\. "after" \.-> \w+',
        re.ASCII,
    )
    said = set()
    for each in text.splitlines():
        match = line.fullmatch(each.strip())
        assert match, each
        for quoted in filter(None, match.groups()):
            said |= {re.sub(r"#(\d+);", lambda code: chr(int(code[1])), part) for part in quoted.split("<br>")}
    assert not [each for each in texts(topology) if visible(each) not in said]


@pytest.mark.long
@pytest.mark.system
@settings(max_examples=40)
@given(topologies())
def test_graphviz_shows_every_text(topology: Topology) -> None:
    if not shutil.which("dot"):
        pytest.skip("Graphviz is not here: `make test-machines` installs it")
    done = subprocess.run(["dot", "-Tsvg"], input=drawn(topology, "dot").encode(), capture_output=True)
    assert done.returncode == 0, done.stderr
    said = {"".join(each.itertext()) for each in ElementTree.fromstring(done.stdout).iter(f"{SVG}text")}
    # Graphviz makes every space one that does not break.
    said = {each.replace("\u00a0", " ") for each in said}
    assert not [each for each in texts(topology) if visible(each).replace("\u00a0", " ").strip() not in said | {""}]


@given(
    st.integers(1, 9).flatmap(
        lambda count: st.tuples(
            st.lists(st.floats(10, 90), min_size=count, max_size=count),
            st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=14),
        )
    )
)
def test_boxes_stand_apart_and_arrows_go_to_the_right(given: tuple[list[float], list[tuple[int, int]]]) -> None:
    heights = {f"b{index}": height for index, height in enumerate(given[0])}
    arrows = [(f"b{tail}", f"b{head}") for tail, head in given[1] if tail < head]
    columns = columns_of(dict.fromkeys(heights, (0, False)), arrows)
    assert all(columns[tail] < columns[head] for tail, head in arrows)
    layout = arranged(heights, columns, arrows, 14)
    for one, other in combinations(heights, 2):
        if columns[one] == columns[other]:
            low, high = sorted((one, other), key=lambda name: layout.spots[name].y)
            assert layout.spots[high].y - layout.spots[low].y - heights[low] > 13.8
    assert min(spot.y for spot in layout.spots.values()) >= 0
    assert max(layout.spots[name].y + heights[name] for name in heights) <= layout.height + 0.2
    assert set(layout.paths) == set(arrows)


@pytest.mark.slow
def test_the_same_spec_gives_the_same_bytes_in_every_process(folder: Folder) -> None:
    folder.write("fleet.yaml", WHOLE)
    folder.write("site/Containerfile", "FROM scratch\n")
    program = (
        "from pathlib import Path; from fleet.ops.graph import drawn; from fleet.ops.topology import read_topology\n"
        "topology = read_topology(Path('fleet.yaml'), platform='aws')\n"
        f"print(*(drawn(topology, form) for form in {FORMS}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=folder.path, check=True, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def fleet_of(count: int) -> Topology:
    nodes = tuple(TopologyNode(f"web-{index}", index, private=f"10.0.0.{index}") for index in range(count))
    return Topology(1, "shop", "aws", (TopologyGroup("web", count, "small", "podman", "recreate", 1, nodes=nodes),))


def test_like_nodes_are_one_entry_where_there_are_many() -> None:
    few, many = picture_of(fleet_of(8)).frames[0], picture_of(fleet_of(200)).frames[0]
    assert [entry.title for entry in few.entries] == [f"web-{index}" for index in range(8)]
    assert [(entry.title, entry.count, entry.detail) for entry in many.entries] == [
        ("web-0 … web-199", 200, "10.0.0.0 … 10.0.0.199")
    ]
    ill = with_states(fleet_of(200), {"web-7": ("not ready", "it has no machine")})
    assert [(entry.title, entry.state) for entry in picture_of(ill).frames[0].entries] == [
        ("web-0 … web-6", ""), ("web-7", "not ready"), ("web-8 … web-199", "")
    ]  # fmt: skip


def test_many_nodes_of_which_no_two_neighbours_are_alike_are_cut_and_counted() -> None:
    states = {f"web-{index}": ("ready" if index % 2 else "not ready", "") for index in range(200)}
    entries = picture_of(with_states(fleet_of(200), states)).frames[0].entries
    assert len(entries) == 24
    assert entries[-1].title == "and 177 more"
    assert sum(entry.count for entry in entries) == 200


def test_a_state_has_a_word_and_a_sign_of_its_own() -> None:
    states = {"web-0": ("ready", ""), "web-1": ("not ready", "x"), "web-2": ("not made", "")}
    root = ElementTree.fromstring(drawn(with_states(fleet_of(3), states), "svg"))
    signs = [(each.tag, each.get("class")) for each in root.iter() if each.get("class") in ("well", "ill", "blank")]
    assert signs == [(f"{SVG}circle", "well"), (f"{SVG}path", "ill"), (f"{SVG}circle", "blank")]
    said = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert [each.partition(",")[0] for each in said if each.endswith(("10.0.0.0", "10.0.0.1", "10.0.0.2"))] == [
        "ready", "not ready", "not made"
    ]  # fmt: skip


def test_the_command_writes_each_format(folder: Folder) -> None:
    for form, begins in (("svg", "<svg "), ("dot", "digraph "), ("mermaid", "flowchart ")):
        printed = folder.fleet("graph", "fleet.yaml", "--format", form)
        assert printed.status == 0, printed
        assert printed.out.startswith(begins)
    written = folder.fleet("graph", "fleet.yaml", "--format", form, "--output", "picture")
    assert written.out == "picture: written.\n"
    assert (folder.path / "picture").read_text() == printed.out


def test_a_picture_that_cannot_be_written_is_an_error_with_its_place(folder: Folder) -> None:
    failed = folder.fleet("graph", "fleet.yaml", "-o", "nowhere/picture.svg")
    assert (failed.status, failed.err) == (
        2,
        "Error: nowhere/picture.svg cannot be written: No such file or directory.\n",
    )


def test_a_picture_needs_no_secret(folder: Folder) -> None:
    folder.edit("fleet.yaml", "name: web\n", "name: web\nsecrets: {db: {config: db}, key: {env: NOWHERE}}\n")
    folder.edit("fleet.yaml", "        ports:", "        secrets: [db, key]\n        ports:")
    folder.make_project("{}")
    folder.environment.pop("PULUMI_CONFIG_PASSPHRASE")
    drawn = folder.fleet("graph", "fleet.yaml", "--stack", "test")
    assert drawn.status == 0, drawn
    assert "secrets: db, key" in drawn.out


@pytest.mark.slow
@pytest.mark.parametrize("example", ["matrix", "nomad"])
@pytest.mark.parametrize("stack", ["aws", "qemu"])
def test_the_examples_can_be_drawn(example: str, stack: str) -> None:
    topology = read_topology(ROOT / "examples" / example / f"{example}.py", stack=stack)
    root = ElementTree.fromstring(drawn(topology, "svg"))
    said = [each.text for each in root.iter(f"{SVG}text")]
    assert {each.name for group in topology.groups for each in group.containers} <= {*said}


def test_a_deployed_node_has_its_address(folder: Folder, tmp_path: Path) -> None:
    folder.make_project("{}")
    urn = "urn:pulumi:test::web::fleet:components:Node::web-0"
    node = f'{{"urn": "{urn}", "type": "fleet:components:Node", "outputs": {{"address": "192.0.2.7"}}}}'
    latest = f'{{"manifest": {{"time": "2026-01-01T00:00:00Z"}}, "resources": [{node}]}}'
    folder.write(
        ".pulumi/stacks/web/test.json",
        f'{{"version": 3, "checkpoint": {{"stack": "organization/web/test", "latest": {latest}}}}}',
    )
    assert "192.0.2.7" in folder.fleet("graph", "fleet.yaml", "--stack", "test").out
