# SPDX-License-Identifier: GPL-2.0
"""From a container's start to its first packet there is no moment without the policy."""

import http.client
import threading
from collections.abc import Callable

import pytest

from engines.row import Row
from engines.rows.starts import Start, Starts
from lib import control
from lib.firstcall import program
from lib.netns import HOST
from lib.scene import Scene
from lib.talk import listening

WORKERS = 4
UDP, TCP = 9021, 9022
TARGET = "172.17.0.1"
TABLE = (
    f"deny proto udp dport {UDP} hook local_out netns container",
    f"deny proto tcp dport {TCP} hook local_out netns container",
    # Whatever got past the container's own hook would be counted here.
    f"deny proto {{ tcp, udp }} dport {{ {UDP}, {TCP} }}",
)


def start_all(starters: list[Start], each: int) -> None:
    """All of them at the same time, and each over and over."""
    errors: list[Exception] = []

    def work(start: Start) -> None:
        try:
            for _ in range(each):
                start()
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def packets() -> list[int]:
    """What each rule has counted."""
    return [c.packets for c in control.counters() if c.number.isdigit()]


def test_starts(scene: Scene, row: Row, note: Callable[..., None]) -> None:
    """containers whose first instructions are a datagram and a connection attempt: refused in each"""
    del scene
    assert isinstance(row, Starts)
    with (
        row.starters(program(TARGET, UDP, TCP), WORKERS) as starters,
        listening(HOST, TARGET, TCP) as listener,
        HOST.udp(TARGET, UDP) as sink,
    ):
        # Without a policy both arrive.
        starters[0]()
        sink.recv(10)
        listener.accept()[0].close()
        control.load_rules(*TABLE)
        start_all(starters, row.count // WORKERS)
        # What was sent was sent before its container ended.
        datagrams, attempts, others = packets()
        assert (datagrams, others) == (row.count, 0)
        # A container that takes more than a second to go tries once more.
        assert attempts >= row.count
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(10)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    note(tried=row.count)
