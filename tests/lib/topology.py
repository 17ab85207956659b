# SPDX-License-Identifier: GPL-2.0
"""The networks that the scenarios happen in."""

import contextlib
import itertools
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from lib import nft
from lib.control import SENTINEL_PORT
from lib.netns import HOST, Namespace
from lib.packets import IP, UDP, IPv6, ether, same
from lib.poll import PATIENCE

BRIDGE_SYSCTLS = Path("/proc/sys/net/bridge")


def quiet(netns: Namespace) -> None:
    """Keeps the kernel from sending what nobody asked for, before any device is up."""
    for scope in ("all", "default"):
        netns.sysctl(f"ipv6/conf/{scope}/accept_dad", 0)
        netns.sysctl(f"ipv6/conf/{scope}/dad_transmits", 0)
        netns.sysctl(f"ipv6/conf/{scope}/router_solicitations", 0)
        netns.sysctl(f"ipv6/conf/{scope}/accept_ra", 0)
        # Reports of multicast groups cannot be stopped, but be over at once.
        netns.sysctl(f"ipv6/conf/{scope}/mldv2_unsolicited_report_interval", 1)
        netns.sysctl(f"ipv4/conf/{scope}/rp_filter", 0)


def forwarding(netns: Namespace) -> None:
    """Makes a router of a namespace."""
    netns.sysctl("ipv4/ip_forward", 1)
    netns.sysctl("ipv6/conf/all/forwarding", 1)


def bridge_calls(value: int) -> None:
    """Sets bridge-nf-call-iptables and -ip6tables (br_netfilter is loaded)."""
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        (BRIDGE_SYSCTLS / name).write_text(f"{value}\n")


class Routed:
    """Two machines and the host as the router between them.

    client                       host                        server
    eth0 10.1.0.2   ---   cl0 10.1.0.1
         fd00:1::2            fd00:1::1
                              srv0 10.2.0.1     ---    eth0 10.2.0.2
                                   fd00:2::1                fd00:2::2

    Whatever is for 198.51.100.0/24 or 2001:db8:51::/48 goes to the server, too.

    Neighbours are static: no packet waits for an address to be resolved, and no packet but the
    tests' own is on the wires.
    """

    CLIENT_MAC = "02:00:00:00:01:02"
    HOST_MAC = "02:00:00:00:01:01"
    SERVER_MAC = "02:00:00:00:02:02"

    def __init__(self, host: Namespace = HOST) -> None:
        self.host = host
        self.client = Namespace.create("client")
        self.server = Namespace.create("server")
        for netns in (self.host, self.client, self.server):
            quiet(netns)
        forwarding(self.host)
        self.host.ip(
            *self._pair("cl0", "10.1.0", "fd00:1:", 1, self.client),
            *self._pair("srv0", "10.2.0", "fd00:2:", 2, self.server),
            "route add 198.51.100.0/24 via 10.2.0.2",
            "route add 2001:db8:51::/48 via fd00:2::2",
            "link set lo up",
        )
        self._end(self.client, "10.1.0", "fd00:1:", 1)
        self._end(self.server, "10.2.0", "fd00:2:", 2)
        # The server keeps its ICMP errors to itself: nothing but the tests' packets goes by.
        self.server.ip(
            "route replace blackhole 0.0.0.0/0", "route replace blackhole ::/0"
        )
        self._out = self.client.packet("eth0", receive=False)
        self._tap = self.server.packet("eth0")
        self._tokens = itertools.count()

    @staticmethod
    def _pair(
        name: str, net4: str, net6: str, number: int, peer: Namespace
    ) -> list[str]:
        mac = f"02:00:00:00:0{number}"
        end = f"name eth0 address {mac}:02 netns {peer.path}"
        return [
            f"link add {name} address {mac}:01 type veth peer {end}",
            f"addr add {net4}.1/24 dev {name}",
            f"addr add {net6}:1/64 dev {name} nodad",
            f"link set {name} up",
            f"neigh replace {net4}.2 lladdr {mac}:02 nud permanent dev {name}",
            f"neigh replace {net6}:2 lladdr {mac}:02 nud permanent dev {name}",
        ]

    @staticmethod
    def _end(netns: Namespace, net4: str, net6: str, number: int) -> None:
        mac = f"02:00:00:00:0{number}"
        netns.ip(
            f"addr add {net4}.2/24 dev eth0",
            f"addr add {net6}:2/64 dev eth0 nodad",
            "link set eth0 up",
            f"neigh replace {net4}.1 lladdr {mac}:01 nud permanent dev eth0",
            f"neigh replace {net6}:1 lladdr {mac}:01 nud permanent dev eth0",
            f"route add default via {net4}.1",
            f"route add default via {net6}:1",
        )

    def delete(self) -> None:
        """Takes the network down."""
        self._out.close()
        self._tap.close()
        self.host.ip("link del cl0", "link del srv0")
        self.client.delete()
        self.server.delete()

    def inject(self, *packets: bytes) -> None:
        """Sends packets from the client's wire: no hook of the client sees them."""
        for packet in packets:
            self._out.send(ether(self.HOST_MAC, self.CLIENT_MAC, packet))

    def sentinel(self, version: int = 4) -> bytes:
        """A packet that every table lets pass, unlike any other."""
        token = f"sentinel {next(self._tokens)}".encode()
        if version == 4:
            return bytes(
                IP(src="10.1.0.2", dst="10.2.0.2") / UDP(dport=SENTINEL_PORT) / token
            )
        return bytes(
            IPv6(src="fd00:1::2", dst="fd00:2::2") / UDP(dport=SENTINEL_PORT) / token
        )

    def forwarded(self, *packets: bytes) -> list[bool]:
        """Which of these packets the host lets through from the client to the server.

        They are followed by a sentinel: when that has arrived, whatever has not was dropped.
        """
        self._drain()
        self.inject(*packets)
        return self.arrived(*packets)

    def arrived(self, *packets: bytes) -> list[bool]:
        """Which of these packets have arrived at the server since this, or `forwarded`, was called."""
        sentinel = self.sentinel(packets[0][0] >> 4)
        self.inject(sentinel)
        arrived = self._until(same(sentinel))
        return [same(packet) in arrived for packet in packets]

    def _drain(self) -> None:
        """Forgets what has arrived: a full buffer would lose the sentinel."""
        self._tap.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._tap.recv(1):
                pass
        self._tap.settimeout(PATIENCE)

    def _until(self, sentinel: bytes) -> set[bytes]:
        arrived: set[bytes] = set()
        while sentinel not in arrived:
            try:
                arrived.add(same(self._tap.recv(65536)[14:]))
            except TimeoutError:
                raise AssertionError("the sentinel did not come through") from None
        return arrived

    def accepted(self, *packets: bytes) -> int:
        """How many of these packets for UDP port 7 of the host reach its sockets."""
        version = packets[0][0] >> 4
        address, source = (
            ("10.1.0.1", "10.1.0.2") if version == 4 else ("fd00:1::1", "fd00:1::2")
        )
        layer = IP if version == 4 else IPv6
        end = bytes(layer(src=source, dst=address) / UDP(dport=SENTINEL_PORT) / b"end")
        with (
            self.host.udp(address, 7) as sink,
            self.host.udp(address, SENTINEL_PORT) as last,
        ):
            self.inject(*packets, end)
            last.recv(100)
            count = 0
            sink.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sink.recv(65536) is not None:
                    count += 1
        return count

    @staticmethod
    def sends(netns: Namespace, address: str, port: int = 7) -> bool:
        """Whether a process in a namespace may send a datagram: a drop on its way out is EPERM."""
        with netns.udp("::" if ":" in address else "0.0.0.0") as sock:
            try:
                sock.sendto(b"data", (address, port))
            except PermissionError:
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()


# Of the drawing below, by IP version
ADDRESSES = {
    4: {
        "ext": "192.0.2.2",
        "host": "192.0.2.1",
        "br0": "172.17.0.1",
        "web": "172.17.0.2",
        "client": "172.17.0.4",
    },
    6: {
        "ext": "2001:db8:2::2",
        "host": "2001:db8:2::1",
        "br0": "fd00:17::1",
        "web": "fd00:17::2",
        "client": "fd00:17::4",
    },
}


MACS = {"web": "02:00:00:00:17:02", "client": "02:00:00:00:17:04"}


class Published:
    """A container host: a bridge with two containers, one port published, one outside machine.

    ext                        host                                   web
    eth0 192.0.2.2   ---   ext0 192.0.2.1                      eth0 172.17.0.2:8080
         2001:db8:2::2          2001:db8:2::1                       fd00:17::2
                               |                                 |
                               | DNAT :8081 -> web:8080          | veth-web
                               |                                 |
                           br0 172.17.0.1    -------------------+
                               fd00:17::1                        | veth-cli
                                                                 |
                                                               client
                                                               eth0 172.17.0.4
                                                                    fd00:17::4
    """

    def __init__(self, published: bool = True) -> None:
        self.host = HOST
        self.ext = Namespace.create("ext")
        self.web = Namespace.create("web")
        self.client = Namespace.create("client")
        for netns in self.namespaces:
            quiet(netns)
        forwarding(HOST)
        HOST.ip(
            f"link add ext0 type veth peer name eth0 netns {self.ext.path}",
            "addr add 192.0.2.1/24 dev ext0",
            "addr add 2001:db8:2::1/64 dev ext0 nodad",
            "link set ext0 up",
            "link add br0 address 02:00:00:00:17:01 type bridge stp_state 0 mcast_snooping 0",
            "addr add 172.17.0.1/24 dev br0",
            "addr add fd00:17::1/64 dev br0 nodad",
            "link set br0 up",
            f"link add veth-web type veth peer {self._peer(self.web)}",
            "link set veth-web master br0 up",
            f"link add veth-cli type veth peer {self._peer(self.client)}",
            "link set veth-cli master br0 up",
        )
        self._end(
            self.ext, "192.0.2.2/24", "2001:db8:2::2/64", "192.0.2.1", "2001:db8:2::1"
        )
        self._end(
            self.web, "172.17.0.2/24", "fd00:17::2/64", "172.17.0.1", "fd00:17::1"
        )
        self._end(
            self.client, "172.17.0.4/24", "fd00:17::4/64", "172.17.0.1", "fd00:17::1"
        )
        self._publish = published
        if published:
            nft.load(PUBLISH)
        self.listeners = [self._listen(version) for version in (4, 6)]

    @staticmethod
    def _peer(netns: Namespace) -> str:
        return f"name eth0 address {MACS[netns.name]} netns {netns.path}"

    @property
    def namespaces(self) -> Iterable[Namespace]:
        """All four."""
        return (self.host, self.ext, self.web, self.client)

    @staticmethod
    def _end(netns: Namespace, addr4: str, addr6: str, via4: str, via6: str) -> None:
        netns.ip(
            f"addr add {addr4} dev eth0",
            f"addr add {addr6} dev eth0 nodad",
            "link set eth0 up",
            f"route add default via {via4}",
            f"route add default via {via6}",
        )

    def _listen(self, version: int) -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = self.web.make_socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ADDRESSES[version]["web"], 8080))
        sock.listen(64)
        return sock

    def connect(
        self,
        source: Namespace,
        version: int,
        target: str,
        port: int,
        timeout: float = PATIENCE,
    ) -> socket.socket:
        """Opens a TCP connection from a namespace to one of the names in the drawing."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sock = source.make_socket(family, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect((ADDRESSES[version][target], port))
        return sock

    def delete(self) -> None:
        """Takes the network down."""
        for listener in self.listeners:
            listener.close()
        if self._publish:
            nft.flush()
        HOST.ip(
            "link del ext0", "link del veth-web", "link del veth-cli", "link del br0"
        )
        for netns in (self.ext, self.web, self.client):
            netns.delete()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()


# What an engine's nft rules do for `--publish 8081:8080`, the way back from a neighbour included.
PUBLISH = """
table inet engine {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        meta nfproto ipv4 fib daddr type local tcp dport 8081 dnat ip to 172.17.0.2:8080
        meta nfproto ipv6 fib daddr type local tcp dport 8081 dnat ip6 to [fd00:17::2]:8080
    }
    chain output {
        type nat hook output priority -100;
        meta nfproto ipv4 fib daddr type local tcp dport 8081 dnat ip to 172.17.0.2:8080
        meta nfproto ipv6 fib daddr type local tcp dport 8081 dnat ip6 to [fd00:17::2]:8080
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname != "br0" ip saddr 172.17.0.0/24 masquerade
        oifname != "br0" ip6 saddr fd00:17::/64 masquerade
        oifname "br0" ip saddr 172.17.0.0/24 ct status dnat masquerade
        oifname "br0" ip6 saddr fd00:17::/64 ct status dnat masquerade
    }
}
"""
