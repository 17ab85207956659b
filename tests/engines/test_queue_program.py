# SPDX-License-Identifier: GPL-2.0
"""A program of the host's decides about containers' traffic, and may die."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.baseline import Baseline
from lib import control
from lib.scene import Scene
from lib.talk import listening
from lib.topology import bridge_calls

PROGRAM = Path(__file__).with_name("verdict_program.py")
QUEUE, PORT, OTHER = 7, 9013, 9014
EVEN, ODD = range(10000, 30000, 2), range(10001, 30001, 2)
# One attempt, and another after a second
LONG = 2.5


@contextlib.contextmanager
def deciding() -> Iterator[subprocess.Popen[str]]:
    """The program has bound its queue."""
    words = [sys.executable, str(PROGRAM), str(QUEUE)]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout and program.stdout.readline() == "ready\n"
        yield program
    finally:
        program.kill()
        program.wait()
        assert program.stdout
        program.stdout.close()


class Client:
    """Connects from a container to another machine, each time from another port."""

    def __init__(self, scene: Scene) -> None:
        self._place = scene.places["client"]
        self._address = scene.addresses["ext"][4]
        self._ports = {0: iter(EVEN), 1: iter(ODD)}

    def connects(self, port: int, odd: int, answered: bool) -> None:
        """What should be answered is given time."""
        with self._place.make_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.bind(("", next(self._ports[odd])))
            sock.settimeout(120.0 if answered else LONG)
            try:
                sock.connect((self._address, port))
            except TimeoutError:
                assert not answered
            else:
                assert answered


@pytest.mark.parametrize("bypass", [False, True], ids=["queue", "queue bypass"])
def test_queue_program(baseline: Baseline, scene: Scene, bypass: bool) -> None:
    """a program (python3-netfilterqueue) decides about a container's packets in the host's namespace, and is killed"""
    bridge_calls(1)
    ext, address = scene.places["ext"], scene.addresses["ext"][4]
    word = " bypass" if bypass else ""
    client = Client(scene)
    with (
        listening(ext, address, PORT),
        listening(ext, address, OTHER),
        deciding() as program,
    ):
        bridge = scene.engine.bridge
        control.load_rules(
            f"queue {QUEUE}{word} in {bridge} proto tcp dport {PORT} hook forward netns host"
        )
        for odd in (0, 1) * 2:
            client.connects(PORT, odd, answered=not odd)
        program.send_signal(signal.SIGKILL)
        program.wait()
        # What it decided about is refused, or passes with `bypass`; all the rest never noticed.
        for odd in (0, 1):
            client.connects(PORT, odd, answered=bypass)
            client.connects(OTHER, odd, answered=True)
        control.load_rules()
        client.connects(PORT, 1, answered=True)
