"""How many made-up cases tests try: few in each run, that it takes minutes; with MLDB_TEST_EFFORT as many as you like.

``MLDB_TEST_EFFORT=10 make test`` tries ten times as many in every test that makes its cases up or draws a sample.
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("MLDB_TEST_EFFORT", "1"))


def cases(usual: int) -> int:
    """How many to try where a usual run tries so many."""
    return max(1, round(usual * EFFORT))
