# SPDX-License-Identifier: GPL-2.0
"""Docker, by the rules that it writes itself, or without any."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from engines.row import TESTS, Row
from engines.rows.client import Client
from lib import firewalld
from lib.command import run
from lib.docker import Engine, running
from lib.netns import HOST
from lib.scene import ALL_BOXES, BOXES, Scene, built

IPV6 = ("--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64", "--experimental", "--ip6tables")


class Iptables(Client):
    """Docker as it comes."""

    title = "Docker, iptables backend"
    client = "docker"
    packages = ("docker.io", "iptables", "nftables")
    boxes = ALL_BOXES
    options: ClassVar[Sequence[str]] = IPV6
    kind: ClassVar[type[Engine]] = Engine
    tests = (*Client.tests[:-1], "test_queue_program.py", Client.tests[-1])
    # Without its rules Docker can do little: those that flush them come last.
    disturbances = (
        "restart_container",
        "networks_come_and_go",
        "restart_engine",
        *Row.disturbances,
    )

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with (
            # By default it leaves containers behind that take more than 15 s to stop.
            running(
                *self.options, "--shutdown-timeout", "600", kind=self.kind
            ) as engine,
            built(engine, self.boxes) as scene,
        ):
            self.add_rules(scene)
            yield scene

    def add_rules(self, scene: Scene) -> None:
        """Between networks Docker refuses much by itself, which would say nothing about ctrfw."""
        for tool in ("iptables", "ip6tables"):
            HOST.run([tool, "-I", "DOCKER-USER", "-j", "ACCEPT"])

    def restart_engine(self, scene: Scene) -> None:
        """dockerd stops, and starts again"""
        engine = scene.engine
        assert isinstance(engine, Engine)
        engine.terminate()
        engine.start()
        engine.wait()
        self.start_again(scene)
        self.add_rules(scene)


class Stock(Iptables):
    """The same on the stock kernel, where a container takes ten seconds to start."""

    title = "Docker, iptables backend, in short"
    boxes = BOXES
    tests = TESTS
    disturbances = ("restart_container", "nft_flush")


class WithoutIptables(Iptables):
    """Docker that leaves the host's rules alone."""

    title = 'Docker, "iptables": false'
    tests = Client.tests
    options = ("--iptables=false", "--ip6tables=false", *IPV6[:3])
    # It has no rules to write again when it starts.
    disturbances = Client.disturbances

    def add_rules(self, scene: Scene) -> None:
        pass


class Firewalld(firewalld.Disturbances, Iptables):
    """Docker beside firewalld."""

    title = "Docker beside firewalld"
    boxes = BOXES
    packages = ("docker.io", "firewalld", "iptables", "nftables")
    disturbances = (*firewalld.Disturbances.CHANGES, "restart_engine")

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with firewalld.running() as self.daemon, super().up() as scene:
            # Docker has found firewalld.
            assert "docker0" in run(
                "firewall-cmd", "--zone=docker", "--list-interfaces"
            )
            yield scene
