# SPDX-License-Identifier: GPL-2.0
"""A row of the compatibility page: an engine, set up in one way."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from lib.command import run
from lib.scene import BOXES, Box, Scene

# What goes on behind disturbances is not what was there before.
TESTS = ("test_empty.py", "test_policy.py", "test_disturbed.py")

Disturbance = Callable[[Scene], None]


def addresses(answer: str) -> str:
    """What nslookup has found, in order, for servers answer in any."""
    lines = answer.splitlines()
    return " ".join(sorted(x for x in lines if "Address" in x and ":53" not in x))


def package(name: str) -> str:
    """The version of a Debian package, without what Debian adds."""
    version = run("dpkg-query", "-W", "-f", "${source:Upstream-Version}", name)
    return f"{name} {version.partition('+')[0]}"


class Row(ABC):
    """One engine in one guest.

    What it does to the rules and networks of the host while packets are tried is the methods that
    `disturbances` names.
    """

    title: ClassVar[str]
    boxes: ClassVar[Sequence[Box]] = BOXES
    # The packages whose versions count
    packages: ClassVar[Sequence[str]]
    # What ctrfw cannot do here, or what was tried in place of the real thing
    notes: ClassVar[Sequence[str]] = ()
    # The files of this folder that are for it, in order
    tests: ClassVar[Sequence[str]] = TESTS
    # By policy, what is to be added to it where the engine's resolver is at a bridge's address
    opened: ClassVar[Mapping[str, str]] = {}
    disturbances: ClassVar[Sequence[str]] = ("nft_flush", "iptables_flush")

    def versions(self) -> list[str]:
        """Of what was tried."""
        return [package(name) for name in self.packages]

    @abstractmethod
    def up(self) -> AbstractContextManager[Scene]:
        """The engine runs, and everything of the scene that it can make is there."""

    def resolve(self, box: str, name: str) -> str | None:
        """What a container gets for a name; None if the engine gives it no resolver."""
        return None

    def nft_flush(self, scene: Scene) -> None:
        """nft flush ruleset"""
        run("nft", "flush", "ruleset")

    def iptables_flush(self, scene: Scene) -> None:
        """iptables -F, -X, -P ACCEPT in all tables"""
        for tool in ("iptables", "ip6tables"):
            self.flush(tool)

    def flush(self, tool: str) -> None:
        """With one of iptables' many names"""
        for table in ("filter", "nat", "mangle", "raw"):
            run(tool, "-t", table, "-F")
        for table in ("filter", "nat"):
            run(tool, "-t", table, "-X")
        for chain in ("INPUT", "FORWARD", "OUTPUT"):
            run(tool, "-P", chain, "ACCEPT")
