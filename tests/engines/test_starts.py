# SPDX-License-Identifier: GPL-2.0
"""From a container's start to its first packet there is no moment without the policy."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ctrfw_paths
from lib import control
from lib.docker import IMAGE, docker
from lib.firstcall import program
from lib.netns import HOST
from lib.scene import Scene
from lib.talk import listening

STARTS, WORKERS = 1000, 4
PROGRAM = Path("/run/ctrfw-first")
UDP, TCP = 9021, 9022
TARGET = "172.17.0.1"
TABLE = (
    f"deny proto udp dport {UDP} hook local_out netns container",
    f"deny proto tcp dport {TCP} hook local_out netns container",
    # Whatever got past the container's own hook would be counted here.
    f"deny proto {{ tcp, udp }} dport {{ {UDP}, {TCP} }}",
)


def post(path: str) -> None:
    """Asks Docker for something, without the cost of its client."""
    connection = ctrfw_paths.UnixConnection("/run/docker.sock")
    with contextlib.closing(connection):
        connection.request("POST", path)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status >= http.client.BAD_REQUEST:
        raise RuntimeError(f"{path}: {answer.status} {body.decode()}")


def start(name: str) -> None:
    """A container lives, from beginning to end."""
    post(f"/containers/{name}/start")
    post(f"/containers/{name}/wait")


@contextlib.contextmanager
def containers() -> Iterator[list[str]]:
    """Some that do nothing but try to reach the host."""
    PROGRAM.write_bytes(program(TARGET, UDP, TCP))
    PROGRAM.chmod(0o755)
    names = [f"first{number}" for number in range(WORKERS)]
    for name in names:
        words = ("--name", name, "-v", f"{PROGRAM}:/first:ro", "--entrypoint", "/first")
        docker("create", *words, IMAGE)
    yield names
    docker("rm", "-f", *names)


def start_all(names: list[str], each: int) -> None:
    """All of them at the same time, and each over and over."""
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            for _ in range(each):
                start(name)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def packets() -> list[int]:
    """What each rule has counted."""
    return [c.packets for c in control.counters() if c.number.isdigit()]


def test_starts(scene: Scene, note: Callable[..., None]) -> None:
    """a container whose first instructions are a datagram and a connection attempt, a thousand starts"""
    del scene
    with (
        containers() as names,
        listening(HOST, TARGET, TCP) as listener,
        HOST.udp(TARGET, UDP) as sink,
    ):
        # Without a policy both arrive.
        start(names[0])
        sink.recv(10)
        listener.accept()[0].close()
        control.load_rules(*TABLE)
        start_all(names, STARTS // WORKERS)
        # What was sent was sent before its container ended.
        datagrams, attempts, others = packets()
        assert (datagrams, others) == (STARTS, 0)
        # A container that takes more than a second to go tries once more.
        assert attempts >= STARTS
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(10)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    note(tried=STARTS)
