# SPDX-License-Identifier: GPL-2.0
"""Datagrams in pieces that somebody has cut with care, and IPv6 headers in front of ports.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

A rule about a port stands at one hook; pieces of datagrams for that port and for another one come
as they are sent: in order and not, tiny, twice, overlapping, behind other headers. Who listens is
asked what has arrived. Proven, at each hook, for both families, with connection tracking (which
puts pieces together before most hooks) and without: nothing reaches the port that a rule denies, or
that no rule allows, however it is cut; and what is for another port is not held up, however it is
cut. Without a rule all those that are said to reach it do, so that the others are not idle.
"""

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lib import conntrack, control, nft
from lib.control import SENTINEL_PORT, SENTINEL_RULE
from lib.netns import HOST, Namespace
from lib.packets import (
    authentication,
    datagram,
    extension,
    fragment,
    ipv4,
    ipv6,
    routing,
)
from lib.topology import Routed

SHUT, OPEN = 2222, 7777
SOURCE = {4: "10.1.0.2", 6: "fd00:1::2"}
SERVER = {4: "10.2.0.2", 6: "fd00:2::2"}
ROUTER = {4: "10.1.0.1", 6: "fd00:1::1"}
HOP, TCP, UDP, ROUTING, FRAGMENT, AH, NONE, OPTIONS = 0, 6, 17, 43, 44, 51, 59, 60
# A routing header of this type is passed over.
EXPERIMENT = 253
UDP_NO_CHECK6_RX = 102

_ids = itertools.count(1)


class Cutter:
    """Makes the pieces of one datagram from the client."""

    def __init__(self, version: int, target: str) -> None:
        self.version = version
        self._ends = (SOURCE[version], target)
        self.id = next(_ids)

    def __call__(self, offset: int, data: bytes, more: bool, proto: int = UDP) -> bytes:
        """A piece."""
        if self.version == 6:
            return self.v6(FRAGMENT, self.header(proto, offset, more) + data)
        return self.v4(data, proto=proto, offset=offset, more=more)

    def v4(self, data: bytes, proto: int = UDP, **more: object) -> bytes:
        """An IPv4 piece."""
        return ipv4(*self._ends, proto, data, identification=self.id, **more)

    def v6(self, following: int, data: bytes) -> bytes:
        """An IPv6 packet."""
        return ipv6(*self._ends, following, data)

    def header(self, following: int, offset: int, more: bool) -> bytes:
        """An IPv6 fragment header."""
        return fragment(following, offset, more, self.id)


def udp(port: int) -> bytes:
    """A datagram of 64 bytes without a checksum: however it is overwritten, it is a good one."""
    return (40000).to_bytes(2) + port.to_bytes(2) + b"\0\x40\0\0" + bytes(56)


def tcp(port: int) -> bytes:
    """A segment of 64 bytes."""
    ports = (40000).to_bytes(2) + port.to_bytes(2)
    return ports + bytes(8) + b"\x50\x10" + bytes(6 + 44)


@dataclass(frozen=True)
class Case:
    """Pieces of datagrams, made of a cutter, the port they are after, and a cover."""

    make: Callable[[Cutter, int, int], list[bytes]]
    versions: tuple[int, ...] = (4, 6)
    # Whether the port is reached without a rule; None: that depends.
    reaches: bool | None = True
    # Whether it counts as broken: such a packet gets no permission, whatever its port.
    broken: bool = False
    # Whether the kernel may lose it, rule or no rule, where connections are tracked.
    delicate: bool = False


def whole(d: bytes, cut: Cutter) -> list[bytes]:
    """A datagram in two pieces."""
    return [cut(0, d[:32], True), cut(32, d[32:], False)]


CASES = {
    "in order": Case(lambda cut, port, _: whole(udp(port), cut)),
    "later first": Case(lambda cut, port, _: whole(udp(port), cut)[::-1]),
    "tiny": Case(lambda cut, port, _: [
        cut(0, udp(port)[:8], True), cut(8, udp(port)[8:16], True), cut(16, udp(port)[16:], False)]),
    "tiny, last first": Case(lambda cut, port, _: [
        cut(16, udp(port)[16:], False), cut(8, udp(port)[8:16], True), cut(0, udp(port)[:8], True)]),
    "TCP": Case(lambda cut, port, _: [
        cut(0, tcp(port)[:24], True, TCP), cut(24, tcp(port)[24:], False, TCP)]),
    "TCP, later first": Case(lambda cut, port, _: [
        cut(24, tcp(port)[24:], False, TCP), cut(0, tcp(port)[:24], True, TCP)]),
    # IPv6 wants all of the header in the first piece.
    "TCP, its header cut": Case(lambda cut, port, _: [
        cut(0, tcp(port)[:8], True, TCP), cut(8, tcp(port)[8:], False, TCP)], (4,), broken=True),
    "TCP, its header cut, IPv6": Case(lambda cut, port, _: [
        cut(0, tcp(port)[:8], True, TCP), cut(8, tcp(port)[8:], False, TCP)], (6,), False),
    # Two that both say they are the first: the kernel keeps the one that came first.
    "behind another first one": Case(lambda cut, port, cover: [
        cut(0, udp(cover)[:32], True), *whole(udp(port), cut)], reaches=False),
    "before another first one": Case(lambda cut, port, cover: [
        cut(0, udp(port)[:32], True), *whole(udp(cover), cut)]),
    "a first one behind the end": Case(lambda cut, port, cover: [
        *whole(udp(cover), cut), cut(0, udp(port)[:32], True)], reaches=False),
    # Pieces that overlap: the kernel forgets all it has of the datagram.
    "a longer first one over another": Case(lambda cut, port, cover: [
        cut(0, udp(cover)[:16], True), cut(0, udp(port)[:32], True), cut(32, udp(port)[32:], False)],
        reaches=False),
    "a longer first one over a tiny one, last first": Case(lambda cut, port, cover: [
        cut(32, udp(port)[32:], False), cut(0, udp(cover)[:8], True), cut(0, udp(port)[:32], True)],
        reaches=False),
    "a first one into a later one": Case(lambda cut, port, _: [
        cut(32, udp(port)[32:], False), cut(0, udp(port)[:40], True)], reaches=False),
    "a later one into the first one": Case(lambda cut, port, cover: [
        cut(0, udp(cover)[:32], True), cut(8, udp(port)[:32], True), cut(40, udp(port)[40:], False)],
        reaches=False),
    "overlapping, and all again": Case(lambda cut, port, cover: [
        cut(0, udp(cover)[:16], True), cut(0, udp(port)[:32], True), *whole(udp(port), cut)]),
    "TCP, a later one over the header": Case(lambda cut, port, cover: [
        cut(0, tcp(cover)[:24], True, TCP), cut(8, tcp(port)[:24], True, TCP),
        cut(32, tcp(port)[32:], False, TCP)], reaches=False),
    "an end within": Case(lambda cut, port, _: [
        cut(0, udp(port)[:32], True), cut(24, bytes(8), False)], reaches=False),
    # IPv4
    "IP options": Case(lambda cut, port, _: [
        cut.v4(udp(port)[:32], options=b"\1" * 8, more=True), cut(32, udp(port)[32:], False)], (4,)),
    "ports alone": Case(lambda cut, port, _: [
        cut.v4(udp(port)[:4], more=True), cut(8, udp(port)[8:], False)], (4,), False),
    "half of the ports": Case(lambda cut, port, _: [
        cut.v4(udp(port)[:2], more=True), cut(8, udp(port)[8:], False)], (4,), False),
    # IPv6: headers in front of the ports
    "options": Case(lambda cut, port, _: [
        cut.v6(HOP, extension(OPTIONS) + extension(UDP) + udp(port))], (6,)),
    "a routing header": Case(lambda cut, port, _: [
        cut.v6(ROUTING, routing(UDP, EXPERIMENT) + udp(port))], (6,)),
    # Some kernels take no more.
    "twelve headers": Case(lambda cut, port, _: [
        cut.v6(OPTIONS, extension(OPTIONS) * 11 + extension(UDP) + udp(port))], (6,)),
    "sixteen headers": Case(lambda cut, port, _: [
        cut.v6(OPTIONS, extension(OPTIONS) * 15 + extension(UDP) + udp(port))], (6,), None),
    "seventeen headers": Case(lambda cut, port, _: [
        cut.v6(OPTIONS, extension(OPTIONS) * 16 + extension(UDP) + udp(port))], (6,), None),
    "an authentication header": Case(lambda cut, port, _: [
        cut.v6(AH, authentication(UDP) + udp(port))], (6,), False),
    # ... and in pieces
    "the only piece": Case(lambda cut, port, _: [cut(0, udp(port), False)], (6,)),
    "the only piece, with options": Case(lambda cut, port, _: [
        cut.v6(HOP, extension(FRAGMENT) + cut.header(OPTIONS, 0, False) + extension(UDP) + udp(port))], (6,)),
    "options before and behind": Case(lambda cut, port, _: [
        cut.v6(HOP, extension(FRAGMENT) + cut.header(OPTIONS, 0, True) + extension(UDP) + udp(port)[:32]),
        cut.v6(HOP, extension(FRAGMENT) + cut.header(OPTIONS, 40, False) + udp(port)[32:])], (6,), delicate=True),
    "options before and behind, later first": Case(lambda cut, port, _: [
        cut.v6(HOP, extension(FRAGMENT) + cut.header(OPTIONS, 40, False) + udp(port)[32:]),
        cut.v6(HOP, extension(FRAGMENT) + cut.header(OPTIONS, 0, True) + extension(UDP) + udp(port)[:32])], (6,), delicate=True),
    "a routing header before": Case(lambda cut, port, _: [
        cut.v6(ROUTING, routing(FRAGMENT, EXPERIMENT) + cut.header(UDP, 0, True) + udp(port)[:32]),
        cut.v6(ROUTING, routing(FRAGMENT, EXPERIMENT) + cut.header(UDP, 32, False) + udp(port)[32:])], (6,), delicate=True),
    "later ones of another protocol": Case(lambda cut, port, _: [
        cut(0, udp(port)[:32], True), cut(32, udp(port)[32:], False, TCP)], (6,)),
    # The ports in a later piece: the kernel takes that where the first ends between two headers.
    "headers cut apart": Case(lambda cut, port, _: [
        cut(0, extension(OPTIONS), True, OPTIONS), cut(8, extension(UDP) + udp(port), False, OPTIONS)],
        (6,), broken=True),
    "headers cut apart, last first": Case(lambda cut, port, _: [
        cut(8, extension(UDP) + udp(port), False, OPTIONS), cut(0, extension(OPTIONS), True, OPTIONS)],
        (6,), broken=True),
    "ports behind the first piece": Case(lambda cut, port, _: [
        cut(0, extension(UDP), True, OPTIONS), cut(8, udp(port), False, OPTIONS)], (6,), False),
    "over the ports behind options": Case(lambda cut, port, cover: [
        cut(0, extension(UDP) + udp(cover)[:32], True, OPTIONS), cut(8, udp(port)[:32], True, OPTIONS),
        cut(40, udp(port)[32:], False, OPTIONS)], (6,), False),
    # A fragment header behind another: connection tracking takes the first one off.
    "pieces in an only piece": Case(lambda cut, port, _: [
        cut.v6(FRAGMENT, fragment(FRAGMENT, 0, False) + cut.header(UDP, 0, True) + udp(port)[:32]),
        cut.v6(FRAGMENT, fragment(FRAGMENT, 0, False) + cut.header(UDP, 32, False) + udp(port)[32:])],
        (6,), None),
    "a piece that is none in pieces": Case(lambda cut, port, _: [
        cut(0, fragment(UDP, 0, False) + udp(port)[:32], True, FRAGMENT), cut(40, udp(port)[32:], False, FRAGMENT)],
        (6,), None),
    "a later piece in pieces": Case(lambda cut, port, _: [
        cut(0, fragment(UDP, 8, False, 7), True, FRAGMENT), cut(8, udp(port), False, FRAGMENT)], (6,), None),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A hook, and a way for packets to come by it."""

    words: str
    # Whose sockets they are for
    target: dict[int, str]
    # Whether the client sends them through its own hooks
    own: bool = False


PLACES = [
    Place("hook pre_routing netns host", SERVER),
    Place("hook forward netns host", SERVER),
    Place("hook post_routing netns host", SERVER),
    Place("hook pre_routing netns host", ROUTER),
    Place("hook local_in netns host", ROUTER),
    Place("hook pre_routing netns container", SERVER),
    Place("hook local_in netns container", SERVER),
    Place("hook local_out netns container", SERVER, own=True),
    Place("hook post_routing netns container", SERVER, own=True),
]

# What has connections tracked in a namespace.
TRACK = """
table inet track {
    chain forward {
        type filter hook forward priority 0;
        ct state new counter
    }
}
"""


@dataclass(frozen=True)
class Net:
    """The network, and whether connections are tracked in it."""

    routed: Routed
    tracked: bool


@pytest.fixture(scope="module", params=["untracked", "tracked"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    """A network with connection tracking in all of its namespaces, or in none."""
    is_tracked = request.param == "tracked"
    with Routed() as network:
        namespaces = (HOST, network.client, network.server)
        for netns in namespaces:
            if is_tracked:
                nft.load(TRACK, netns)
            assert conntrack.tracks(netns) == ({"ip", "ip6"} if is_tracked else set())
        yield Net(network, is_tracked)
        nft.flush()


class Listener:
    """All sockets that something may arrive at, and the way there."""

    def __init__(self, net: Routed, place: Place, version: int) -> None:
        self._net = net
        self.version = version
        self.target = place.target[version]
        netns: Namespace = net.server if place.target is SERVER else HOST
        self._udp = {port: netns.udp(self.target, port) for port in (SHUT, OPEN)}
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._tcp = netns.make_socket(family, socket.SOCK_RAW, TCP)
        # Nobody else's segments
        self._tcp.bind((self.target, 0))
        self._sentinel = netns.udp(self.target, SENTINEL_PORT)
        for sock in self._udp.values():
            if version == 6:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
        self._raw = None
        if place.own:
            self._raw = net.client.make_socket(
                family, socket.SOCK_RAW, socket.IPPROTO_RAW
            )

    def close(self) -> None:
        """Closes them."""
        for sock in (*self._udp.values(), self._tcp, self._sentinel, self._raw):
            if sock:
                sock.close()

    def _send(self, packet: bytes) -> None:
        if self._raw is None:
            self._net.inject(packet)
            return
        # What is refused on its way out is told to its sender.
        with contextlib.suppress(PermissionError):
            self._raw.sendto(packet, (self.target, 0))

    def reached(self, case: Case, port: int, cover: int) -> set[int]:
        """The ports at which something has arrived when all pieces are sent."""
        for packet in case.make(Cutter(self.version, self.target), port, cover):
            self._send(packet)
        self._send(datagram(SOURCE[self.version], self.target, SENTINEL_PORT))
        self._sentinel.recv(100)
        found = set()
        for number, sock in self._udp.items():
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sock.recv(1000) is not None:
                    found.add(number)
        self._tcp.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while segment := self._tcp.recv(1000):
                body = segment[20:] if self.version == 4 else segment
                found.add(int.from_bytes(body[2:4]))
        return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", PLACES, ids=lambda p: f"{p.words} to {p.target[4]}")
def test_pieces(net: Net, place: Place, version: int) -> None:
    """No way of cutting a datagram gets it past a rule about its port, or keeps another's back."""
    cases = {name: c for name, c in CASES.items() if version in c.versions}
    listener = Listener(net.routed, place, version)
    sentinel = f"{SENTINEL_RULE} fragment no"
    tables = {
        "none": (),
        "deny": (f"deny proto {{ tcp, udp }} dport {SHUT} {place.words}",),
        "allow": (
            sentinel,
            f"allow proto {{ tcp, udp }} dport {OPEN} {place.words}",
            f"default deny {place.words}",
        ),
    }
    wrong = []
    # Where the datagrams for the other port arrive without a rule
    before: dict[str, set[int]] = {}
    for table, rules in tables.items():
        control.load_rules(*rules)
        for name, case in cases.items():
            sure = not (case.delicate and net.tracked)
            found = listener.reached(case, SHUT, OPEN)
            if table != "none":
                if SHUT in found:
                    wrong.append(f"{table}: {name}: reaches the port")
            elif sure and case.reaches is not None and case.reaches != (SHUT in found):
                wrong.append(f"no rule: {name}: arrives at {found}")
            if case.reaches and not case.broken:
                found = listener.reached(case, OPEN, OPEN)
                wanted = before.setdefault(name, {OPEN} if sure else found)
                if found != wanted:
                    wrong.append(f"{table}: {name}: the other arrives at {found}")
    listener.close()
    assert not wrong, "\n".join(wrong)
