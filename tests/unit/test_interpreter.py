"""`interpreter`: what keeps the reactor's turns short while threads work."""

from __future__ import annotations

import gc
import sys

from twisted_pypi.interpreter import SWITCH_INTERVAL, never_stall


def test_threads_give_way_soon_and_what_is_loaded_is_not_looked_through() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        never_stall()
        assert abs(sys.getswitchinterval() - SWITCH_INTERVAL) < 1e-5
        assert gc.get_freeze_count() > len(sys.modules)
        assert len(gc.get_objects(2)) < gc.get_freeze_count() / 10
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
