# SPDX-License-Identifier: GPL-2.0
"""Pods, as Kubernetes makes them: a namespace that CNI plugins give its network to."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib import byhand
from lib.netns import HOST, Namespace
from lib.scene import NETWORKS, Box, Network

PLUGINS = Path("/usr/lib/cni")
VERSION = "1.0.0"


class Engine(byhand.Engine):
    """The plugins bridge or macvlan, host-local, and portmap."""

    def add_network(self, network: Network) -> None:
        """The first pod makes its bridge."""
        self._networks.append(network)

    def add_container(self, box: Box) -> Namespace:
        """A pod"""
        netns = Namespace.create(box.name)
        network = NETWORKS[box.network]
        result = call("ADD", box.name, netns.path, interface(network, box))
        if box.published and not network.parent:
            call("ADD", box.name, netns.path, self._ports(network, box, result))
        return netns

    def remove(self, box: Box, netns: Namespace) -> None:
        """A pod goes."""
        network = NETWORKS[box.network]
        if box.published:
            call("DEL", box.name, netns.path, self._ports(network, box, None))
        call("DEL", box.name, netns.path, interface(network, box))

    def _ports(self, network: Network, box: Box, result: Any) -> dict[str, Any]:
        """The configuration of what publishes ports."""
        mappings = []
        for text in box.published:
            ports, _, proto = text.partition("/")
            here, there = (int(port) for port in ports.split(":"))
            mappings.append(
                {"hostPort": here, "containerPort": there, "protocol": proto or "tcp"}
            )
        config = {
            "cniVersion": VERSION,
            "name": network.name,
            "type": "portmap",
            "snat": True,
            "runtimeConfig": {"portMappings": mappings},
        }
        return config | ({"prevResult": result} if result else {})


def interface(network: Network, box: Box) -> dict[str, Any]:
    """The configuration of what makes eth0."""
    number = box.number
    nets = [(f"{network.net4}.0/24", network.net4 + ".", "254")]
    if network.net6:
        nets.append((f"{network.net6}::/64", network.net6 + "::", "fe"))
    ranges = [[{"subnet": subnet}] for subnet, _, _ in nets]
    if network.parent:
        for (given,), (_, prefix, router) in zip(ranges, nets, strict=True):
            given["gateway"] = prefix + router
    config: dict[str, Any] = {
        "cniVersion": VERSION,
        "name": network.name,
        "ipam": {
            "type": "host-local",
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}][: len(nets)],
        },
    }
    if number is not None:
        config["args"] = {"cni": {"ips": [f"{p}{number}" for _, p, _ in nets]}}
    if network.parent:
        return config | {"type": "macvlan", "master": network.parent}
    return config | {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
    }


def call(command: str, name: str, path: str, config: dict[str, Any]) -> Any:
    """What a plugin has to say about a pod, whose network namespace is at this path."""
    words = [
        "env",
        f"CNI_COMMAND={command}",
        f"CNI_CONTAINERID={name}",
        f"CNI_NETNS={path}",
        "CNI_IFNAME=eth0",
        f"CNI_PATH={PLUGINS}",
        str(PLUGINS / str(config["type"])),
    ]
    answer = HOST.run(words, json.dumps(config))
    return json.loads(answer) if answer else None


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """The host forwards for as long as it lasts."""
    with byhand.running(Engine) as engine:
        assert isinstance(engine, Engine)
        yield engine
    subprocess.run(["rm", "-rf", "/var/lib/cni"], check=True)
