# SPDX-License-Identifier: GPL-2.0
"""Control groups of the hierarchy of version 2, entered by this very process.

A socket stays in the group in which it was made, so that one process can have sockets in many.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PROCS = "cgroup.procs"


def make(path: str) -> None:
    """Makes a group, and those above it."""
    (ROOT / path.lstrip("/")).mkdir(parents=True, exist_ok=True)


def remove(path: str) -> None:
    """Removes a group, which nothing is left in but sockets, and all below it."""
    top = ROOT / path.lstrip("/")
    for directory, _, _ in os.walk(top, topdown=False):
        os.rmdir(directory)


@contextlib.contextmanager
def inside(path: str, pid: int = 0) -> Iterator[None]:
    """A process, or this one, is in a group until the block ends, then in the root again."""
    (ROOT / path.lstrip("/") / _PROCS).write_text(f"{pid}\n")
    try:
        yield
    finally:
        (ROOT / _PROCS).write_text(f"{pid}\n")
