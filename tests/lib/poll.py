# SPDX-License-Identifier: GPL-2.0
"""Waiting for something to become true, without guessing how long it takes."""

import time
from collections.abc import Callable

# Long enough for the slowest kernel (QEMU without KVM, on a machine that has ten times as
# much to do): a test that passes never waits for it, so there is no reason to be mean.
PATIENCE = 120.0


def until[T](probe: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Calls `probe` until it gives something true, and returns that."""
    deadline = time.monotonic() + patience
    pause = 0.001
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
