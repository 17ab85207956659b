# SPDX-License-Identifier: GPL-2.0
"""Containers that live for a moment."""

import contextlib
import http.client
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import ctrfw_paths
from engines.row import Row
from engines.rows import cni, docker
from lib import runc
from lib.docker import IMAGE
from lib.docker import docker as client
from lib.scene import BOXES

Start = Callable[[], None]


class Starts(Row):
    """Nothing but starts."""

    notes: ClassVar[Sequence[str]] = ()
    tests = ("test_starts.py",)
    disturbances = ()
    # How many in all
    count: ClassVar[int]

    @abstractmethod
    def starters(
        self, program: bytes, workers: int
    ) -> AbstractContextManager[list[Start]]:
        """Who has a container live from beginning to end, at the same time as the others."""


class Docker(Starts, docker.Iptables):
    """By Docker."""

    title = "Docker, a hundred starts"
    boxes = BOXES
    count = 100

    @contextlib.contextmanager
    def starters(self, program: bytes, workers: int) -> Iterator[list[Start]]:
        path = Path("/run/ctrfw-first")
        path.write_bytes(program)
        path.chmod(0o755)
        names = [f"first{number}" for number in range(workers)]
        for name in names:
            words = ("--name", name, "-v", f"{path}:/first:ro", "--entrypoint")
            client("create", *words, "/first", IMAGE)
        yield [lambda name=name: self.live(name) for name in names]
        client("rm", "-f", *names)

    def live(self, name: str) -> None:
        """Without the cost of Docker's client"""
        for what in ("start", "wait"):
            self.post(f"/containers/{name}/{what}")

    def post(self, path: str) -> None:
        """Asks the daemon for something."""
        connection = ctrfw_paths.UnixConnection("/run/docker.sock")
        with contextlib.closing(connection):
            connection.request("POST", path)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{path}: {answer.status} {body.decode()}")


class Runc(Starts, cni.Pods):
    """By what a Kubernetes node has: a thousand by Docker would take half an hour."""

    title = "runc and CNI plugins, a thousand starts"
    packages = ("runc", "containernetworking-plugins")
    count = 1000

    @contextlib.contextmanager
    def starters(self, program: bytes, workers: int) -> Iterator[list[Start]]:
        with runc.containers(program, workers) as containers:
            yield [container.start for container in containers]
