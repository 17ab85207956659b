# SPDX-License-Identifier: GPL-2.0
"""Work that goes on while a test does something else, or under another identity."""

import contextlib
import json
import mmap
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from lib.netns import Namespace


class Stop:
    """A flag that parent and child share, and a count of what the child has done so far."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def set(self) -> None:
        """Asks the child to come to an end."""
        self._page[0] = 1

    def __bool__(self) -> bool:
        return self._page[0] != 0

    @property
    def progress(self) -> int:
        """How far the child has come."""
        return int.from_bytes(self._page[8:16])

    @progress.setter
    def progress(self, count: int) -> None:
        self._page[8:16] = count.to_bytes(8)


class Background:
    """A forked child that runs `work(stop)` until told to stop; its result comes back as JSON.

    A process, not a thread: it must run at the same time as the test, on another CPU.
    """

    def __init__(
        self, work: Callable[[Stop], Any], forget: tuple[Namespace, ...] = ()
    ) -> None:
        self.stop_flag = Stop()
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _child(lambda: work(self.stop_flag), write, forget)
        os.close(write)

    def finish(self) -> Any:
        """Stops the child; its result."""
        self.stop_flag.set()
        return self.result()

    def result(self) -> Any:
        """Waits until the child has come to its own end; its result."""
        with os.fdopen(self._read) as pipe:
            text = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0 and text, (
            f"a background process failed: wait status {status}\n{text}"
        )
        return json.loads(text)


def _child(work: Callable[[], Any], pipe: int, forget: tuple[Namespace, ...]) -> None:
    """The child's whole life: it must never return into pytest."""
    status = 1
    try:
        # The tests' own process keeps to one CPU; the others are for its children.
        cpus = set(range(os.cpu_count() or 1))
        os.sched_setaffinity(0, cpus - {0} or cpus)
        if len(cpus) == 1:
            # Where all share one CPU, the test goes first: it waits for its children anyway.
            os.nice(5)
        for netns in forget:
            netns.delete()
        result = json.dumps(work())
        os.write(pipe, result.encode())
        status = 0
    except BaseException:  # noqa: BLE001
        os.write(pipe, traceback.format_exc().encode())
    finally:
        sys.stdout.flush()
        os._exit(status)


@contextlib.contextmanager
def running(
    work: Callable[[Stop], Any], forget: tuple[Namespace, ...] = ()
) -> Iterator[Background]:
    """A background process that is stopped even when the test fails."""
    child = Background(work, forget)
    try:
        yield child
    finally:
        child.stop_flag.set()
