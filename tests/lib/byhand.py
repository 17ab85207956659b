# SPDX-License-Identifier: GPL-2.0
"""An engine that is none: bridges and namespaces made by `ip`, as an administrator would by himself."""

import contextlib
import subprocess
from collections.abc import Iterator

from lib import cgroup
from lib.docker import FORWARDING
from lib.netns import HOST, Namespace
from lib.scene import NETWORKS, SHARED_GROUP, Box, Network, Shared
from lib.topology import forwarding


class Engine:
    """Nobody serves at their port 8080, and nobody publishes anything: the caller does."""

    bridge = "docker0"
    serves = False

    def __init__(self) -> None:
        self._networks: list[Network] = []
        self._numbers: dict[str, int] = {}
        self._sleepers: list[subprocess.Popen[bytes]] = []

    def add_network(self, network: Network) -> None:
        """A bridge, whose first address is the host's."""
        self._networks.append(network)
        if network.parent:
            return
        lines = [
            f"link add {network.bridge} type bridge",
            f"addr add {network.net4}.1/24 dev {network.bridge}",
        ]
        if network.net6:
            lines.append(f"addr add {network.net6}::1/64 dev {network.bridge} nodad")
        HOST.ip(*lines, f"link set {network.bridge} up")

    def add_container(self, box: Box) -> Namespace:
        """A namespace with a link to its network."""
        network = NETWORKS[box.network]
        number = box.number
        if number is None:
            number = self._numbers.get(network.name, 1) + 1
            self._numbers[network.name] = number
        netns = Namespace.create(box.name)
        if network.parent:
            HOST.ip(
                f"link add {box.name}0 link {network.parent} type macvlan mode bridge",
                f"link set {box.name}0 netns {netns.path} name eth0",
            )
        else:
            self.plug(box.name, netns, network.bridge)
        # On a parent's network the host is none of the neighbours that a macvlan device reaches.
        router = {4: "254", 6: "fe"} if network.parent else {4: "1", 6: "1"}
        lines = [
            f"addr add {network.net4}.{number}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {network.net4}.{router[4]}",
        ]
        if network.net6:
            lines.insert(1, f"addr add {network.net6}::{number}/64 dev eth0 nodad")
            lines.append(f"route add default via {network.net6}::{router[6]}")
        netns.ip(*lines)
        return netns

    def plug(self, name: str, netns: Namespace, bridge: str) -> None:
        """A link between a namespace and a bridge."""
        HOST.ip(
            f"link add v-{name} type veth peer name eth0 netns {netns.path}",
            f"link set v-{name} master {bridge} up",
        )

    def add_shared(self, *command: str) -> Namespace | None:
        """A process of the host's namespace in a control group."""
        del command
        group = f"{SHARED_GROUP}/byhand"
        cgroup.make(group)
        sleeper = subprocess.Popen(["sleep", "infinity"])
        (cgroup.ROOT / group.lstrip("/") / "cgroup.procs").write_text(
            f"{sleeper.pid}\n"
        )
        self._sleepers.append(sleeper)
        return Shared("shared", sleeper.pid)

    def close(self) -> None:
        """Takes away what namespaces do not take with them."""
        for sleeper in self._sleepers:
            sleeper.kill()
            sleeper.wait()
        cgroup.remove(SHARED_GROUP)
        bridges = [network.bridge for network in self._networks if not network.parent]
        HOST.ip(*(f"link del {bridge}" for bridge in bridges))


@contextlib.contextmanager
def running(kind: type[Engine] = Engine) -> Iterator[Engine]:
    """The host forwards for as long as it lasts."""
    before = {path: path.read_text() for path in FORWARDING}
    engine = kind()
    try:
        forwarding(HOST)
        yield engine
    finally:
        engine.close()
        subprocess.run(["nft", "flush", "ruleset"], check=False)
        for path, text in before.items():
            path.write_text(text)
