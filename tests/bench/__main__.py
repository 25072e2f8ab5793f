"""``make bench``: ratios within one run, on this machine; nothing here fails on a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import engine, imports
from tests.conftest import FLEET
from tools import go

NODES, SNIPPETS, SAMPLE = 1000, 10, 50


def measure(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        imports.main(folder)
        engine.main(folder, [int(size) for size in sys.argv[1:]] or engine.SIZES)
        butane = folder / "butane"
        subprocess.run(
            [go.go(), "build", "-o", butane, "github.com/coreos/butane/internal"], cwd=go.MODULES / "butane", check=True
        )
        names = [f"s{index}.bu" for index in range(SNIPPETS)]
        entry = "    - {{path: /etc/{0}-{1}, mode: 0644, contents: {{inline: '{0} {1}'}}}}\n"
        head = "variant: fcos\nversion: 1.6.0\nstorage:\n  files:\n"
        files = {name: "".join(entry.format(name, n) for n in range(6)) for name in names}
        for name, text in files.items():
            (folder / name).write_text(head + text)
        listed = ", ".join(names)
        # What a Makefile gives butane for one node: the ten snippets in one document.
        merged = folder / "merged.bu"
        merged.write_text(head + "".join(files.values()))
        spec = folder / "fleet.yaml"
        spec.write_text(f"name: bench\ngroups:\n  all: {{count: {NODES}, snippets: [{listed}]}}\n")
        render = measure(lambda: subprocess.run([FLEET, "render", spec], check=True, stdout=subprocess.DEVNULL))
        runs = measure(
            lambda: [
                subprocess.run([butane, "--strict", merged], check=True, capture_output=True) for _ in range(SAMPLE)
            ]
        )
        butanes = runs / SAMPLE * NODES
    print(f"{'what':58}{'seconds':>9}{'ratio':>8}")
    print(f"{f'{NODES} runs of butane, ten snippets in one file (from {SAMPLE})':58}{butanes:9.2f}{1:8.3f}")
    print(f"{f'fleet render, {NODES} nodes of {SNIPPETS} snippets each':58}{render:9.2f}{render / butanes:8.3f}")


main()
