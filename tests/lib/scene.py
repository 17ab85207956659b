# SPDX-License-Identifier: GPL-2.0
"""Containers of some engine on bridges of a host, which stands between two other machines.

ext 203.0.113.2 ---- wan0 203.0.113.1                    +-- web    172.17.0.2   published: 8082
    2001:db8:8::2         2001:db8:8::1       docker0  --+-- client 172.17.0.3
                                              172.17.0.1
lan 192.168.50.2 --- lan0 192.168.50.1
 |  fd00:50::2            fd00:50::1          br-stack --+-- front  172.30.0.10  published: 8081 (tcp, udp), 8084
 |                                            172.30.0.1 +-- redis  172.30.0.11  published: 6379
mac 192.168.50.77                                        +-- db     172.30.0.12
    (macvlan)              shared (--network host)
                                              br-old   ----- old    172.31.0.2   published: 8083, no IPv6

With ALL_BOXES, also:

lan 192.168.60.2 --- lan1 192.168.60.1        br-inner --+-- vault  172.29.0.10  (--internal)
 |  fd00:60::2            fd00:60::1          172.29.0.1 +-- safe   172.29.0.11
ipv 192.168.60.77 (ipvlan)
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from lib import cgroup, reach
from lib.netns import HOST, Namespace, created
from lib.poll import until
from lib.reach import LINGER, Cell, Service

RESOLV_CONF = Path("/etc/resolv.conf")
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40
TCP_LISTEN = "0A"
SHARED_GROUP = "/hostnet.slice"
SHARED = (8085, 8086)
SERVICE, DNS, LDAP, DATABASE, SSH = 8080, 53, 389, 5432, 22


@dataclass(frozen=True)
class Network:
    """A network of the engine's, .1 and ::1 of which are the host's (or, on a parent, a router's)."""

    name: str
    bridge: str
    net4: str
    net6: str | None = None
    # For a network on a device, without a bridge
    parent: str | None = None
    driver: str = "macvlan"
    # Nobody in it gets out.
    internal: bool = False


@dataclass(frozen=True)
class Box:
    """A container, with a web server at port 8080."""

    name: str
    network: str
    # What its addresses end in; None: as the engine likes.
    number: int | None = None
    # As engines have it: 8081:8080/udp
    published: tuple[str, ...] = ()


DEFAULT = Network("bridge", "docker0", "172.17.0", "fd00:d0c")
STACK = Network("stack", "br-stack", "172.30.0", "fd00:30")
OLD = Network("old", "br-old", "172.31.0")
LAN = Network("lan", "", "192.168.50", "fd00:50", parent="lan0")
# A device carries macvlan or ipvlan, not both.
SIDE = Network("side", "", "192.168.60", "fd00:60", parent="lan1", driver="ipvlan")
INNER = Network("inner", "br-inner", "172.29.0", "fd00:29", internal=True)
NETWORKS = {n.name: n for n in (DEFAULT, STACK, OLD, LAN, SIDE, INNER)}
BOXES = (
    Box("web", "bridge", published=("8082:8080",)),
    Box("client", "bridge"),
    Box("front", "stack", 10, ("8081:8080", "8081:8080/udp", "8084:8080")),
    Box("redis", "stack", 11, ("6379:8080",)),
    Box("db", "stack", 12),
    Box("old", "old", 2, ("8083:8080",)),
    Box("mac", "lan", 77),
)
ALL_BOXES = (
    *BOXES,
    Box("ipv", "side", 77),
    Box("vault", "inner", 10),
    Box("safe", "inner", 11),
)
# Addresses of the machines outside, and of the host towards them and for itself
OUTSIDE = {
    "ext": {4: "203.0.113.2", 6: "2001:db8:8::2"},
    "lan": {4: "192.168.50.2", 6: "fd00:50::2"},
    "wan0": {4: "203.0.113.1", 6: "2001:db8:8::1"},
    "lan0": {4: "192.168.50.1", 6: "fd00:50::1"},
    "loop": {4: "127.0.0.1", 6: "::1"},
}
# Where only some of the boxes are
ELSEWHERE = {
    "side": {"side": {4: "192.168.60.2", 6: "fd00:60::2"}},
    "inner": {"br-inner": {4: "172.29.0.1", 6: "fd00:29::1"}},
}
# Where published ports lead
TRANSLATED = {8081: "front", 8084: "front", 8082: "web", 8083: "old", 6379: "redis"}


class Engine(Protocol):
    """Who makes networks and containers."""

    # What the bridge of its default network is called
    bridge: str
    # Whether its containers serve web pages, as Box says; else the scene does for them.
    serves: bool

    def add_network(self, network: Network) -> None:
        """Makes one, but for the default network, which is there."""

    def add_container(self, box: Box) -> Namespace:
        """Starts one; its network namespace, which the caller is to let go of."""

    def add_shared(self, *command: str) -> Namespace | None:
        """Starts one in the host's network namespace, if the engine has such."""


class Shared(Namespace):
    """The host's namespace, with sockets as a container in it makes them."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(
            name, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        )
        # Without the `0::` in front
        text = Path(f"/proc/{pid}/cgroup").read_text()
        self._group = text.strip().removeprefix("0::")
        self._inside = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._inside.enter_context(cgroup.inside(self._group))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._inside.close()


def addresses_of(netns: Namespace) -> dict[int, str]:
    """The global addresses of eth0, by IP version, when they may be used."""

    def ready() -> dict[int, str]:
        (device,) = json.loads(netns.run(["ip", "-j", "addr", "show", "dev", "eth0"]))
        infos = [i for i in device["addr_info"] if i["scope"] == "global"]
        if any(i.get("tentative") and not i.get("dadfailed") for i in infos):
            return {}
        versions = {"inet": 4, "inet6": 6}
        return {versions[info["family"]]: info["local"] for info in reversed(infos)}

    return until(ready, f"{netns} has addresses")


def link_local(netns: Namespace, device: str) -> str | None:
    """A device's link-local address, once it has one."""
    for line in netns.read("if_inet6").splitlines():
        number, _, _, scope, _, name = line.split()
        if scope == "20" and name == device:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(number))
    return None


def in_use(netns: Namespace, devices: Collection[str]) -> bool:
    """Whether no IPv6 address of these devices is tentative any more.

    One that somebody else has stays so: where an engine was stopped, say, and its links were not.
    """
    for line in netns.read("if_inet6").splitlines():
        _, _, _, _, flags, device = line.split()
        undecided = int(flags, 16) & (IFA_F_TENTATIVE | IFA_F_DADFAILED)
        if device in devices and undecided == IFA_F_TENTATIVE:
            return False
    return True


def serves(netns: Namespace, port: int) -> bool:
    """Whether somebody listens at a TCP port."""
    sockets = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in netns.read(name).splitlines()[1:]
    ]
    return any(
        local.endswith(f":{port:04X}") and state == TCP_LISTEN
        for _, local, _, state, *_ in sockets
    )


def link_machine(
    netns: Namespace, port: str, device: str, net4: str, net6: str
) -> None:
    """Another machine's port, at a network of the host's."""
    HOST.ip(
        f"link add {device} type veth peer name {port} netns {netns.path}",
        f"addr add {net4}.1/24 dev {device}",
        f"addr add {net6}::1/64 dev {device} nodad",
        f"link set {device} up",
    )
    netns.ip(
        f"addr add {net4}.2/24 dev {port}",
        f"addr add {net6}::2/64 dev {port} nodad",
        f"link set {port} up",
    )


def add_machine(netns: Namespace, device: str, net4: str, net6: str) -> None:
    """Another machine, whose router the host is."""
    link_machine(netns, "eth0", device, net4, net6)
    netns.ip(
        f"route add default via {net4}.1",
        f"route add default via {net6}::1",
    )


@dataclass
class Scene:
    """The drawing above: who is where, and under which addresses."""

    engine: Engine
    places: dict[str, Namespace]
    addresses: dict[str, dict[int, str]]
    # Those that are other machines
    outside: tuple[Namespace, ...]
    boxes: Sequence[Box]
    _servers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def cells(self, table: list[Cell]) -> list[Cell]:
        """What of a table can be tried here."""
        return [
            cell
            for cell in table
            if cell.source in self.places
            and cell.version in self.addresses.get(cell.target, ())
        ]

    def attempt(
        self, cells: list[Cell], awaited: Callable[[Cell], bool], linger: float = LINGER
    ) -> dict[Cell, str]:
        """What comes of each connection; see reach.attempt()."""
        return reach.attempt(cells, self.places, self.addresses, awaited, linger)

    def add(self, box: Box) -> None:
        """Has the engine start a container, perhaps once more."""
        self.take(box.name, self.engine.add_container(box))

    def take(self, name: str, netns: Namespace) -> None:
        """A container has this namespace from now on."""
        if old := self.places.pop(name, None):
            old.delete()
        self.places[name] = netns
        self.addresses[name] = addresses_of(netns)

    def _find_neighbours(self) -> None:
        """What the client may have for neighbours by their link-local addresses, as they are now."""
        for name, netns, device in (
            ("peer", self.places["web"], "eth0"),
            ("link", HOST, self.engine.bridge),
        ):
            if address := link_local(netns, device):
                self.addresses[name] = {6: f"{address}%eth0"}

    def serve(self) -> None:
        """Answers in all namespaces as they are now."""
        self._servers.close()
        self._find_neighbours()
        shared = self.places.get("shared")
        lan = self.places["lan"]
        own = [
            self.addresses[device]
            for device in ("loop", "wan0", "lan0", "docker0", "br-stack", INNER.bridge)
            if device in self.addresses
        ]
        services = [
            *(Service(netns, "tcp") for netns in (HOST, *self.outside)),
            Service(HOST, "tcp", SSH),
            *(Service(lan, "tcp", port) for port in (LDAP, DATABASE)),
            Service(lan, "udp", DNS),
            *(
                Service(netns, "udp")
                for name, netns in self.places.items()
                if name not in ("host", "shared")
            ),
            *(Service(shared, "udp", port) for port in SHARED if shared),
            *(
                Service(netns, "tcp", port)
                for name, netns in self.places.items()
                if not self.engine.serves
                if name != "host" and netns not in self.outside
                for port in (SHARED if name == "shared" else (SERVICE,))
            ),
            # At all of its addresses at once, the host would answer from another one.
            *(Service(HOST, "udp", address=a) for b in own for a in b.values()),
        ]
        self._servers.enter_context(reach.serving(services))
        self._wait()

    def _wait(self) -> None:
        """Until all addresses may be used, and the containers' own servers listen."""
        bridges = (self.engine.bridge, STACK.bridge, INNER.bridge)
        devices = ("eth0", "wan0", "lan0", *bridges)
        for name, netns in self.places.items():
            until(lambda n=netns: in_use(n, devices), f"{name}'s addresses are in use")
            if netns in self.outside:
                continue
            shared = name in ("host", "shared") and "shared" in self.places
            for port in SHARED if shared else (SERVICE,):
                until(lambda n=netns, p=port: serves(n, p), f"{name} serves {port}")

    def close(self) -> None:
        """Nobody answers any more, and nobody is held."""
        self._servers.close()
        for name, netns in self.places.items():
            if name not in ("host", "ext", "lan"):
                netns.delete()


@contextlib.contextmanager
def built(engine: Engine, boxes: Sequence[Box] = BOXES) -> Iterator[Scene]:
    """All of it, for as long as the block lasts; the engine takes its own away."""
    names = RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""
    with created("ext", "lan") as (ext, lan):
        scene = Scene(
            engine,
            {"host": HOST, "ext": ext, "lan": lan},
            {
                **OUTSIDE,
                "docker0": {4: "172.17.0.1", 6: "fd00:d0c::1"},
                "br-stack": {4: "172.30.0.1", 6: "fd00:30::1"},
            },
            (ext, lan),
            boxes,
        )
        try:
            add_machine(ext, "wan0", "203.0.113", "2001:db8:8")
            add_machine(lan, "lan0", "192.168.50", "fd00:50")
            RESOLV_CONF.write_text("nameserver 192.168.50.2\n")
            for name in dict.fromkeys(box.network for box in boxes):
                if name == SIDE.name:
                    link_machine(lan, "eth1", "lan1", SIDE.net4, "fd00:60")
                scene.addresses |= ELSEWHERE.get(name, {})
                engine.add_network(NETWORKS[name])
            for box in boxes:
                scene.add(box)
            # It serves two ports, and the network is the host's.
            serve = (
                f"httpd -p {SHARED[1]} -h /www; exec httpd -f -p {SHARED[0]} -h /www"
            )
            if shared := engine.add_shared("sh", "-c", serve):
                scene.places["shared"] = shared
            scene.serve()
            yield scene
        finally:
            scene.close()
            RESOLV_CONF.write_text(names)
            for device in ("wan0", "lan0", "lan1"):
                if Path(f"/sys/class/net/{device}").exists():
                    HOST.ip(f"link del {device}")
