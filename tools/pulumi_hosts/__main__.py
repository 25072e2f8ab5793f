"""``python -m tools.pulumi_hosts``: make ``pulumi`` available in this virtual environment, and print its path."""

import sys
from pathlib import Path

from tools.pulumi_hosts import install

print(install(Path(sys.executable).parent))
