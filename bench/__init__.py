"""Benchmarks of this checkout, to be compared across commits: `python -m bench`, `python -m bench.load`.

They use the test suite's daemon harness; nothing of this is installed.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))
