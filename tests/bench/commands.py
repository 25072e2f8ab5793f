"""What commands that change nothing take, and how rendering grows with the nodes, beside peers that are there."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.cost import Cost, cost, medians
from tests.bench.plot import plotted
from tests.conftest import FLEET
from tools import go
from tools.cache import ROOT

ROUNDS = 5
NODES = (1, 10, 100, 1000)
_SNIPPETS = [f"s{index}.bu" for index in range(10)]
_HEAD = "variant: fcos\nversion: 1.6.0\nstorage:\n  files:\n"
_ENTRY = "    - {{path: /etc/{0}-{1}, mode: 0644, contents: {{inline: '{0} {1}'}}}}\n"

PAGE = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/images/performance.svg"
_PAGE = """\
# Performance

Made by `make bench`, on one machine; only the ratios mean something elsewhere. Each figure is the median of {rounds}
runs: seconds of processors, of the command and of all processes that it starts, and the memory that they had.

{commands}

{nodes}

![Seconds of processors to render fleets, by the number of nodes, on logarithmic scales](images/performance.svg)

`fleet render` takes ten snippets a node. The loop in Go parses one node's config once and, for each node, merges what
only that node has, validates the whole and prints it, with Ignition's own library: what no program that renders configs
can do without. OpenTofu's column, where there is one, is `tofu plan` with a `ct_config` for each node.
"""

_TOFU = """\
terraform {
  required_providers { ct = { source = "poseidon/ct" } }
}
variable "nodes" { type = number }
data "ct_config" "node" {
  count    = var.nodes
  content  = file("s0.bu")
  snippets = [%s]
  strict   = true
}
output "sizes" { value = [for node in data.ct_config.node : length(node.rendered)] }
"""


def main(scratch: Path) -> None:
    """Print the tables, and write the page and its plot.

    Args:
        scratch: A folder for projects.
    """
    folder = scratch / "commands"
    folder.mkdir()
    for name in _SNIPPETS:
        (folder / name).write_text(_HEAD + "".join(_ENTRY.format(name, n) for n in range(6)))
    for count in NODES:
        (folder / f"{count}.yaml").write_text(
            f"version: 1\nname: bench\ngroups:\n  all: {{count: {count}, snippets: [{', '.join(_SNIPPETS)}]}}\n"
        )
    commands = _commands(folder)
    nodes = _nodes(folder)
    tables = _command_table(commands), _node_table(nodes)
    print("", *tables, sep="\n")
    PAGE.write_text(_PAGE.format(rounds=ROUNDS, commands=tables[0], nodes=tables[1]))
    curves = {what: [(count, each.cpu) for count, each in costs.items()] for what, costs in nodes.items()}
    PLOT.write_text(plotted(curves, across="nodes", up="seconds of processors"))


def _commands(folder: Path) -> dict[str, Cost]:
    """What each command takes; one after the other in every round, so that a busy moment is of all."""
    calls = {
        "fleet --help": (FLEET, "--help"),
        "fleet --version": (FLEET, "--version"),
        "fleet up --help": (FLEET, "up", "--help"),
        "fleet schema": (FLEET, "schema"),
        "fleet validate": (FLEET, "validate", "1.yaml"),
        "fleet render": (FLEET, "render", "1.yaml"),
    }
    if shutil.which("pulumi"):
        calls["pulumi --help"] = (Path(str(shutil.which("pulumi"))), "--help")
    if tofu := shutil.which("tofu"):
        calls["tofu --help"] = (Path(tofu), "--help")
    return _taken({what: functools.partial(cost, folder, *call) for what, call in calls.items()})


def _nodes(folder: Path) -> dict[str, dict[int, Cost]]:
    """What rendering takes, by the number of nodes."""
    loop = _loop(folder)
    config = subprocess.run([FLEET, "render", "1.yaml", "--node", "all-0"], cwd=folder, check=True, capture_output=True)
    (folder / "node.ign").write_bytes(config.stdout)
    calls: dict[str, Callable[[int], Cost]] = {
        "fleet render": lambda count: cost(folder, FLEET, "render", f"{count}.yaml"),
        "a loop in Go": lambda count: cost(folder, loop, str(count), "node.ign"),
    }
    tofu, provider = shutil.which("tofu"), Path(shutil.which("terraform-provider-ct") or "")
    if tofu and provider.name:
        (folder / "main.tf").write_text(_TOFU % ", ".join(f'file("{name}")' for name in _SNIPPETS[1:]))
        (folder / "tofurc").write_text(
            f'provider_installation {{ dev_overrides = {{ "poseidon/ct" = {json.dumps(str(provider.parent))} }} }}\n'
        )
        env = {"TF_CLI_CONFIG_FILE": str(folder / "tofurc"), "CHECKPOINT_DISABLE": "1"}
        calls["OpenTofu with ct"] = lambda count: cost(folder, tofu, "plan", f"-var=nodes={count}", env=env)
    taken = {what: dict[int, Cost]() for what in calls}
    for count in NODES:
        for what, each in _taken({what: functools.partial(call, count) for what, call in calls.items()}).items():
            taken[what][count] = each
    return taken


def _taken(calls: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    runs: dict[str, list[Cost]] = {what: [] for what in calls}
    for call in calls.values():
        call()  # what is read for the first time is not counted
    for _ in range(ROUNDS):
        for what, call in calls.items():
            runs[what].append(call())
    return {what: medians(costs) for what, costs in runs.items()}


def _loop(folder: Path) -> Path:
    """The program ``loop.go``, built with the transpiler's modules."""
    module = folder / "loop"
    module.mkdir()
    for source in (ROOT / "transpiler/go.mod", ROOT / "transpiler/go.sum", Path(__file__).with_name("loop.go")):
        shutil.copy(source, module)
    subprocess.run(
        [go.go(), "build", "-trimpath", "-mod=mod", "-ldflags=-s -w", "-o", "loop", "loop.go"],
        cwd=module,
        check=True,
        env={**os.environ, "GOFLAGS": ""},
    )
    return module / "loop"


def _command_table(commands: Mapping[str, Cost]) -> str:
    rows = [f"| `{what}` | {each.cpu:.2f} | {each.seconds:.2f} | {each.mib:.0f} |" for what, each in commands.items()]
    return "\n".join(("| command | CPU, s | wall, s | MiB |", "| --- | --- | --- | --- |", *rows))


def _node_table(nodes: Mapping[str, Mapping[int, Cost]]) -> str:
    loop = nodes["a loop in Go"]
    head = "| nodes | " + " | ".join(f"{what}, CPU s | MiB" for what in nodes) + " | fleet / loop |"
    rows = []
    for count in NODES:
        cells = " | ".join(f"{costs[count].cpu:.2f} | {costs[count].mib:.0f}" for costs in nodes.values())
        rows.append(f"| {count} | {cells} | {nodes['fleet render'][count].cpu / loop[count].cpu:.2f} |")
    return "\n".join((head, "| --- |" + " --- | --- |" * len(nodes) + " --- |", *rows))
