"""``make bench``: ratios within one run, on this machine; nothing here fails on a time."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import commands, engine, imports

_PEERS = """\
Peers are measured where they are on PATH: `pulumi`, and OpenTofu's `tofu` with the provider `terraform-provider-ct`.
Go builds both from their modules; neither can be installed by `go install` outside of its own:

  cd "$(go mod download -json github.com/opentofu/opentofu@v1.12.6 | jq -r .Dir)" && go build -o ~/bin/tofu ./cmd/tofu
  git clone https://github.com/poseidon/terraform-provider-ct && cd terraform-provider-ct && go build -o ~/bin/ .

The tables of commands are written into docs/performance.md, with a plot of cost against nodes.
"""


def main() -> None:
    """Print the tables that are wanted."""
    parser = argparse.ArgumentParser(
        "python -m tests.bench", description=__doc__, epilog=_PEERS, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=engine.SIZES, help="nodes of the stacks on the engine")
    parser.add_argument("--only", choices=("imports", "commands", "engine"), help="one part of it")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if wanted.only in (None, "imports"):
            imports.main(folder)
        if wanted.only in (None, "commands"):
            commands.main(folder)
        if wanted.only in (None, "engine"):
            engine.main(folder, wanted.sizes)


main()
