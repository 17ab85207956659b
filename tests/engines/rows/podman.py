# SPDX-License-Identifier: GPL-2.0
"""Podman as root, by the rules that its netavark writes."""

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from engines.row import Row
from engines.rows.client import Client
from lib import firewalld
from lib.podman import Engine, PodEngine, installed, podman
from lib.scene import Scene, built


class Nftables(Client):
    """Podman as it comes."""

    title = "Podman, netavark's nftables driver"
    client = "podman"
    packages = ("podman", "netavark", "aardvark-dns", "nftables")
    notes = (
        "aardvark-dns answers at the bridge's address: names need that in the resolvers of lan-lockdown, and a rule of its own in compose-project; both files say how.",
        "Without systemd, `--cgroup-parent` takes no group called a slice: host-network was tried with a group below it, /hostnet.slice/podman.",
    )
    disturbances = (
        *Client.disturbances,
        "restart_all",
        "reload_networks",
    )
    opened = {
        "lan-lockdown": "replace set resolvers { 192.168.50.2, fd00:50::2, 172.17.0.1, fd00:d0c::1, 172.30.0.1, fd00:30::1 }",
        "compose-project": "allow in br-stack proto { tcp, udp } dport 53 hook local_in netns host priority 100",
    }
    driver: ClassVar[str] = "nftables"
    kind: ClassVar[type[Engine]] = Engine

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with (
            installed(firewall_driver=self.driver),
            built(self.kind(), self.boxes) as scene,
        ):
            yield scene

    def reload_networks(self, scene: Scene) -> None:
        """podman network reload --all"""
        podman("network", "reload", "--all")

    def restart_all(self, scene: Scene) -> None:
        """all containers stop, and start again"""
        podman("stop", "-a", "-t", "0")
        self.start_again(scene)


class Iptables(Nftables):
    """Podman as it was."""

    title = "Podman, netavark's iptables driver"
    packages = ("podman", "netavark", "aardvark-dns", "iptables")
    driver = "iptables"
    # Where its chains have gone, netavark can neither stop nor reload anything.
    disturbances = (
        *Client.disturbances[: -len(Row.disturbances)],
        "restart_all",
        "reload_networks",
        *Row.disturbances,
    )


class Pods(Nftables):
    """Podman with pods."""

    title = "Podman, pods"
    notes = (
        *Nftables.notes,
        "The containers of a pod share a namespace and its addresses: for a rule with an address they are one. Each service was a pod of its own.",
    )
    kind = PodEngine


class Firewalld(firewalld.Disturbances, Nftables):
    """Podman beside firewalld."""

    title = "Podman beside firewalld"
    packages = ("podman", "netavark", "firewalld", "nftables")
    notes = (
        *Nftables.notes,
        "Podman puts its networks into firewalld's zone `trusted`, where nothing is filtered: what is refused is refused by ctrfw alone.",
    )
    tests = (*Client.tests[:-1], "test_trusted.py", Client.tests[-1])
    # reload_networks() begins with what firewalld_reload() is.
    disturbances = (
        "reload_networks",
        *firewalld.Disturbances.CHANGES[1:],
        "restart_all",
        "nft_flush",
    )

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with firewalld.running() as self.daemon, super().up() as scene:
            yield scene

    def reload_networks(self, scene: Scene) -> None:
        """firewall-cmd --reload, which forgets that it trusts Podman's networks; podman network reload --all"""
        self.firewalld_reload(scene)
        super().reload_networks(scene)
