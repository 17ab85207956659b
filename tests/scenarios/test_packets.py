# SPDX-License-Identifier: GPL-2.0
"""Packets that are hard to read, and what the module makes of them.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Each crafted packet goes over the wire twice, once in the linear part of its sk_buff, once in
page fragments, and must be read the same both times. What lies so badly that IP drops it before
PRE_ROUTING comes to LOCAL_OUT by raw sockets. (A wrong IPv4 header length or version can come to
no hook of this kernel: every way in checks them; the unit tests have those.)

What cannot be read is counted, and meets a `deny` rule that asks for it, but no `allow` rule.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from lib import control
from lib.background import Stop, running
from lib.control import SENTINEL_RULE, Status
from lib.netns import HOST
from lib.packets import (
    authentication,
    ether,
    extension,
    fragment,
    ipv4,
    ipv6,
    routing,
)
from lib.poll import PATIENCE, until
from lib.topology import Routed
from lib.trace import TraceLine, Tracer
from lib.txring import TxRing

C4, S4, C6, S6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
TCP, UDP, ICMP, GRE, ESP, AH, ICMPV6, NONE, OPTIONS, ROUTING, FRAGMENT, HOP = (
    6, 17, 1, 47, 50, 51, 58, 59, 60, 43, 44, 0,
)  # fmt: skip

PORTS = b"\x9c\x40\x00\x07"
UDP_HEADER = PORTS + b"\x00\x08\x00\x00"
TCP_HEADER = PORTS + bytes(8) + b"\x50\x02" + bytes(6)
READ = {"spt": 40000, "dpt": 7, "unparsed": None}
NO_PORTS = {"spt": None, "dpt": None, "type": None}


def v4(proto: int, payload: bytes, **more: Any) -> bytes:
    """An IPv4 packet through the host."""
    return ipv4(C4, S4, proto, payload, **more)


def v6(following: int, payload: bytes, **more: Any) -> bytes:
    """An IPv6 packet through the host."""
    return ipv6(C6, S6, following, payload, **more)


# name: (packet, what the trace says of it at PRE_ROUTING)
PACKETS: dict[str, tuple[bytes, dict[str, Any]]] = {
    # IPv4 options
    "4 no-operation options": (
        v4(UDP, UDP_HEADER, options=b"\1" * 8), READ | {"proto": "UDP", "len": 36}),
    "4 all the options there can be": (
        v4(TCP, TCP_HEADER, options=b"\1" * 40), READ | {"proto": "TCP", "flags": "SYN"}),
    "4 record route": (
        v4(UDP, UDP_HEADER, options=b"\7\7\4\0\0\0\0\0"), READ | {"proto": "UDP"}),
    # IPv4 fragments
    "4 first fragment": (
        v4(UDP, UDP_HEADER, more=True), READ | {"proto": "UDP", "frag": "first"}),
    "4 later fragment": (
        v4(UDP, UDP_HEADER, offset=1480), NO_PORTS | {"proto": "UDP", "frag": "1480"}),
    "4 middle fragment": (
        v4(TCP, TCP_HEADER, offset=8000, more=True),
        NO_PORTS | {"proto": "TCP", "frag": "8000", "flags": None, "unparsed": None}),
    "4 last possible fragment": (
        v4(UDP, bytes(8), offset=65528 - 28 - 4), NO_PORTS | {"frag": "65496"}),
    "4 later fragment of ICMP": (
        v4(ICMP, b"\x08\x00", offset=8), NO_PORTS | {"proto": "ICMP", "frag": "8"}),
    "4 tiny first fragment of TCP": (
        v4(TCP, TCP_HEADER[:8], more=True), READ | {"frag": "first", "flags": "-"}),
    "4 TCP fragment at offset 8": (
        v4(TCP, bytes(16), offset=8),
        NO_PORTS | {"proto": "TCP", "frag": "8", "unparsed": "tiny-offset"}),
    "4 UDP fragment at offset 8": (
        v4(UDP, bytes(16), offset=8), NO_PORTS | {"frag": "8", "unparsed": None}),
    # IPv4, other payloads
    "4 ESP": (v4(ESP, bytes(16)), NO_PORTS | {"proto": "ESP", "unparsed": None}),
    "4 AH": (v4(AH, authentication(UDP) + UDP_HEADER), NO_PORTS | {"proto": "AH"}),
    "4 GRE": (v4(GRE, bytes(4)), NO_PORTS | {"proto": "GRE", "unparsed": None}),
    "4 protocol 255": (v4(255, b""), NO_PORTS | {"proto": "255", "len": 20, "unparsed": None}),
    "4 IPIP": (v4(4, v4(UDP, UDP_HEADER)), NO_PORTS | {"proto": "IPIP", "len": 48}),
    "4 echo request": (
        v4(ICMP, b"\x08\x00" + bytes(6)), {"proto": "ICMP", "type": 8, "code": 0, "spt": None}),
    # IPv4, cut off
    "4 TCP without a byte": (v4(TCP, b""), NO_PORTS | {"unparsed": "short-transport"}),
    "4 TCP of three bytes": (v4(TCP, PORTS[:3]), NO_PORTS | {"unparsed": "short-transport"}),
    "4 TCP of four bytes": (v4(TCP, PORTS), READ | {"flags": "-", "len": 24}),
    "4 UDP of two bytes": (v4(UDP, PORTS[:2]), NO_PORTS | {"unparsed": "short-transport"}),
    "4 ICMP of one byte": (v4(ICMP, b"\x08"), NO_PORTS | {"unparsed": "short-transport"}),
    "4 first fragment without a byte": (
        v4(UDP, b"", more=True), NO_PORTS | {"frag": "first", "unparsed": "short-transport"}),
    "4 ports in the padding behind the packet": (
        v4(UDP, b"") + UDP_HEADER, NO_PORTS | {"len": 20, "unparsed": "short-transport"}),
    # IPv6 extension headers
    "6 plain": (v6(UDP, UDP_HEADER), READ | {"proto": "UDP", "len": 48}),
    "6 hop-by-hop options": (v6(HOP, extension(UDP) + UDP_HEADER), READ | {"proto": "UDP"}),
    "6 destination options": (v6(OPTIONS, extension(TCP, 64) + TCP_HEADER), READ | {"flags": "SYN"}),
    "6 routing header": (v6(ROUTING, routing(UDP) + UDP_HEADER), READ | {"proto": "UDP"}),
    "6 authentication header": (
        v6(AH, authentication(UDP) + UDP_HEADER), READ | {"proto": "UDP"}),
    "6 all of them": (
        v6(HOP, extension(OPTIONS) + extension(ROUTING) + routing(FRAGMENT)
           + fragment(AH, 0, True) + authentication(OPTIONS) + extension(TCP) + TCP_HEADER),
        READ | {"proto": "TCP", "flags": "SYN", "frag": "first"}),
    "6 sixteen headers": (
        v6(OPTIONS, extension(OPTIONS) * 15 + extension(UDP) + UDP_HEADER), READ),
    "6 seventeen headers": (
        v6(OPTIONS, extension(OPTIONS) * 16 + extension(UDP) + UDP_HEADER),
        NO_PORTS | {"proto": "-", "unparsed": "many-extensions"}),
    "6 ICMPv6": (
        v6(OPTIONS, extension(ICMPV6) + b"\x80\x00" + bytes(6)),
        {"proto": "ICMPv6", "type": 128, "code": 0, "spt": None}),
    "6 ESP": (v6(ESP, bytes(16)), NO_PORTS | {"proto": "ESP", "unparsed": None}),
    "6 no next header": (v6(NONE, UDP_HEADER), NO_PORTS | {"proto": "59", "unparsed": None}),
    "6 no next header after options": (
        v6(OPTIONS, extension(NONE)), NO_PORTS | {"proto": "59", "unparsed": None}),
    # IPv6 fragments
    "6 first fragment": (
        v6(FRAGMENT, fragment(UDP, 0, True) + UDP_HEADER), READ | {"frag": "first"}),
    "6 only fragment": (
        v6(FRAGMENT, fragment(UDP, 0, False) + UDP_HEADER), READ | {"proto": "UDP"}),
    "6 later fragment": (
        v6(FRAGMENT, fragment(UDP, 1448, False) + UDP_HEADER),
        NO_PORTS | {"proto": "UDP", "frag": "1448", "unparsed": None}),
    "6 later fragment after options": (
        v6(OPTIONS, extension(FRAGMENT) + fragment(TCP, 1024, True) + TCP_HEADER),
        NO_PORTS | {"proto": "TCP", "frag": "1024"}),
    "6 later fragment of a packet with more headers": (
        v6(FRAGMENT, fragment(OPTIONS, 1448, False) + UDP_HEADER),
        NO_PORTS | {"proto": "-", "frag": "1448"}),
    "6 TCP fragment at offset 8": (
        v6(FRAGMENT, fragment(TCP, 8, False) + bytes(16)),
        NO_PORTS | {"frag": "8", "unparsed": "tiny-offset"}),
    # IPv6, cut off and lying
    "6 TCP of three bytes": (v6(TCP, PORTS[:3]), NO_PORTS | {"unparsed": "short-transport"}),
    "6 UDP without a byte after options": (
        v6(OPTIONS, extension(UDP)), NO_PORTS | {"unparsed": "short-transport"}),
    "6 options that end too early": (
        v6(OPTIONS, bytes([UDP, 3]) + bytes(6)), NO_PORTS | {"unparsed": "short-extension"}),
    "6 options of which one byte is there": (
        v6(OPTIONS, bytes([UDP])), NO_PORTS | {"unparsed": "short-extension"}),
    "6 options that are not there": (
        v6(OPTIONS, b""), NO_PORTS | {"proto": "-", "unparsed": "short-extension"}),
    "6 fragment header that is cut off": (
        v6(FRAGMENT, fragment(UDP, 1448, False)[:7]), NO_PORTS | {"unparsed": "short-extension"}),
    "6 the longest options, and a lie": (
        v6(OPTIONS, bytes([UDP, 255]) + bytes(62)), NO_PORTS | {"unparsed": "short-extension"}),
    "6 ports in the padding behind the packet": (
        v6(UDP, UDP_HEADER, length=0), NO_PORTS | {"len": 40, "unparsed": "short-transport"}),
}  # fmt: skip


OTHER = v4(253, b"\xff" * 100)


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


@pytest.fixture(scope="module")
def ring(net: Routed) -> Iterator[TxRing]:
    """The client's wire, for packets in page fragments."""
    sender = TxRing(net.client, "eth0")
    yield sender
    sender.close()


def frame(packet: bytes) -> bytes:
    """The packet as the client's wire has it."""
    return ether(Routed.HOST_MAC, Routed.CLIENT_MAC, packet)


def next_line(tracer: Tracer) -> TraceLine:
    """The one line that a packet leaves."""
    (line,) = until(
        lambda: [
            line for line in tracer.lines() if line.src in (C4, C6, "fd00:1::1", "-")
        ],
        "the packet's line",
    )
    return line


@pytest.mark.parametrize("name", PACKETS)
def test_packet(net: Routed, ring: TxRing, tracer: Tracer, name: str) -> None:
    """What the trace says of a packet, linear and not, and that it is counted right."""
    packet, expected = PACKETS[name]
    # The server must not see, and count, the packet again.
    control.load_rules("deny hook forward netns host")
    control.trace("hook pre_routing netns host")
    before = Status.read().hooks["pre_routing"]
    net.inject(packet)
    linear = next_line(tracer)
    # Memory that is used again must not happen to hold what should be read from the pages.
    net.inject(OTHER)
    assert next_line(tracer).proto == "253"
    ring.send(frame(packet))
    fragmented = next_line(tracer)
    change = Status.read().hooks["pre_routing"] - before
    for line in (linear, fragmented):
        assert {field: getattr(line, field) for field in expected} == expected
        assert (line.src, line.dst) == ((C4, S4) if name.startswith("4") else (C6, S6))
    assert change.unparsed == (2 if linear.unparsed else 0)
    assert change.dropped == 0


# What a raw socket lets out that no wire would bring in.
LIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "longer than it is": (
        v6(UDP, UDP_HEADER, length=9), NO_PORTS | {"unparsed": "total-length", "len": 48}),
    "much longer than it is": (
        v6(UDP, UDP_HEADER, length=65535), NO_PORTS | {"unparsed": "total-length"}),
    "shorter than it is": (
        v6(UDP, UDP_HEADER + bytes(50), length=8), READ | {"len": 48}),
    "shorter than its transport header": (
        v6(UDP, UDP_HEADER, length=3), NO_PORTS | {"unparsed": "short-transport", "len": 43}),
    "nothing but a header": (v6(TCP, b""), NO_PORTS | {"unparsed": "short-transport"}),
    "of version 4": (
        b"\x45" + v6(UDP, UDP_HEADER)[1:], NO_PORTS | {"unparsed": "version", "src": "-"}),
    "of version 15": (
        b"\xf0" + v6(UDP, UDP_HEADER)[1:], NO_PORTS | {"unparsed": "version", "dst": "-"}),
    "hop-by-hop options that lie": (
        v6(HOP, bytes([UDP, 200]) + bytes(6)), NO_PORTS | {"unparsed": "short-extension"}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_lies_of_raw_sockets(net: Routed, tracer: Tracer, lie: str) -> None:
    """IPv6 headers as the sender of a raw socket likes them."""
    packet, expected = LIES[lie]
    control.trace("hook local_out netns host")
    before = Status.read().hooks["local_out"]
    with HOST.make_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, (C6, 0))
    line = next_line(tracer)
    assert {field: getattr(line, field) for field in expected} == expected
    change = Status.read().hooks["local_out"] - before
    assert change.unparsed == (1 if line.unparsed else 0)


def test_short_packets_of_raw_sockets(net: Routed, tracer: Tracer) -> None:
    """The same for IPv4, where the kernel sets the lengths right."""
    control.trace("hook local_out netns host")
    with HOST.make_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for size in range(4):
            sock.sendto(ipv4(C4, C4, TCP, PORTS[:size]), (C4, 0))
            assert next_line(tracer).unparsed == "short-transport"
        sock.sendto(ipv4(C4, C4, TCP, PORTS, options=b"\x44" * 12), (C4, 0))
        line = next_line(tracer)
        assert (line.spt, line.dpt, line.unparsed) == (40000, 7, None)


# Rules, a packet, and which rule decides
DECISIONS = {
    # What is unread meets `deny`, and no `allow`
    "deny proto tcp dport 9999": ("4 TCP of three bytes", "deny", "1"),
    "deny sport 1-2": ("4 TCP of three bytes", "deny", "1"),
    "allow proto tcp dport 7; deny": ("4 TCP of three bytes", "deny", "2"),
    "allow dport 0-65535; default deny": ("4 TCP of three bytes", "deny", "default"),
    "deny dport 9999": ("6 TCP of three bytes", "deny", "1"),
    "allow dport 7; default deny netns host": (
        "6 TCP of three bytes",
        "deny",
        "default",
    ),
    "deny proto udp": ("6 seventeen headers", "deny", "1"),
    "deny proto tcp": ("6 seventeen headers", "deny", "1"),
    "allow proto udp; default deny": ("6 seventeen headers", "deny", "default"),
    "deny proto udp dport 7": ("6 options that end too early", "deny", "1"),
    # What could be read still counts
    "deny proto udp dport 9999; allow proto tcp": (
        "4 TCP of three bytes",
        "allow",
        "2",
    ),
    "deny from 10.9.9.9 dport 7; allow": ("4 TCP of three bytes", "allow", "2"),
    "deny from fd09::/16; allow to fd00:2::2": ("6 seventeen headers", "allow", "2"),
    # A later fragment has no ports: `allow` takes it, `deny` leaves it
    "deny proto udp dport 7; default allow": ("4 later fragment", "allow", "default"),
    "allow proto udp dport 9999; default deny": ("4 later fragment", "allow", "1"),
    "deny sport 40000; allow dport 9999; deny": ("6 later fragment", "allow", "2"),
    "allow proto tcp dport 9999; deny proto udp": ("4 later fragment", "deny", "2"),
    "deny proto udp; allow": ("4 later fragment", "deny", "1"),
    # ... unless it could overwrite the ports
    "allow proto tcp dport 7; deny proto tcp": (
        "4 TCP fragment at offset 8",
        "deny",
        "2",
    ),
    "deny proto tcp dport 22": ("4 TCP fragment at offset 8", "deny", "1"),
    "deny proto tcp dport 22; allow": ("6 TCP fragment at offset 8", "deny", "1"),
    # What the first fragment says of its ports decides as ever
    "deny proto udp dport 8; allow proto udp dport 7": (
        "4 first fragment",
        "allow",
        "2",
    ),
    "deny proto udp dport 7; allow": ("6 first fragment", "deny", "1"),
}


@pytest.mark.parametrize("rules", DECISIONS)
def test_decision(net: Routed, ring: TxRing, tracer: Tracer, rules: str) -> None:
    """What cannot be read, or lies in another fragment, is handled as the documents say."""
    name, verdict, rule = DECISIONS[rules]
    packet, _ = PACKETS[name]
    # Without the usual rule for sentinels: it allows later fragments, as it should.
    control.load_rules(*rules.split("; "))
    control.trace("hook pre_routing netns host")
    net.inject(packet)
    line = next_line(tracer)
    assert (line.verdict, line.rule) == (verdict, rule)
    ring.send(frame(packet))
    line = next_line(tracer)
    assert (line.verdict, line.rule) == (verdict, rule)


def test_refused_first_fragment_stops_the_datagram(net: Routed) -> None:
    """Later fragments may pass, but without the first one they are never put together."""
    datagram = PORTS + struct.pack("!HH", 8 + 2000, 0) + bytes(2000)

    def send(number: int) -> None:
        net.inject(
            ipv4(C4, S4, UDP, datagram[:1480], more=True, identification=number),
            ipv4(C4, S4, UDP, datagram[1480:], offset=1480, identification=number),
        )

    with net.server.udp(S4, 7) as sink:
        send(1)
        assert len(sink.recv(4000)) == 2000
        control.load_rules(
            SENTINEL_RULE, "deny proto udp dport 7 hook forward", "default allow"
        )
        send(2)
        net.forwarded(ipv4(C4, S4, 253))
        assert control.counters()[1].packets == 1, "only the first one is stopped"
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(4000)
        # The other way round: only what is allowed comes together.
        control.load_rules(
            SENTINEL_RULE, "allow proto udp dport 7", "default deny netns host"
        )
        send(3)
        sink.settimeout(PATIENCE)
        assert len(sink.recv(4000)) == 2000


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_of_the_stack(net: Routed, tracer: Tracer, version: int) -> None:
    """A large datagram is whole (a list of buffers) at LOCAL_OUT and in pieces at the other end's
    PRE_ROUTING. IPv4 puts it together before LOCAL_IN, IPv6 after it."""
    source, target = ("10.1.0.1", C4) if version == 4 else ("fd00:1::1", C6)
    control.trace("from 10.1.0.1 proto udp", "from fd00:1::1 proto udp")
    with net.client.udp(target, 7) as sink, HOST.udp(source) as sock:
        sock.sendto(bytes(4000), (target, 7))
        assert len(sink.recv(8000)) == 4000
    lines = tracer.lines()
    whole = 4008 + (20 if version == 4 else 40)
    step = 1480 if version == 4 else 1448
    pieces = [("first", 7), (str(step), None), (str(2 * step), None)]
    if version == 4:
        arrival = [("PRE_ROUTING", *piece) for piece in pieces] + [
            ("LOCAL_IN", None, 7)
        ]
    else:
        arrival = [
            (hook, *piece) for piece in pieces for hook in ("PRE_ROUTING", "LOCAL_IN")
        ]
    assert [(line.hook, line.frag, line.dpt) for line in lines] == [
        ("LOCAL_OUT", None, 7),
        ("POST_ROUTING", None, 7),
        *arrival,
    ]
    assert lines[0].len == lines[1].len == whole
    assert all(line.unparsed is None for line in lines)


@pytest.mark.parametrize("version", [4, 6])
def test_large_segments(net: Routed, tracer: Tracer, version: int) -> None:
    """TCP hands down packets of many segments, their data in pages: every byte is accounted for."""
    size = 300_000
    source, target = ("10.1.0.1", C4) if version == 4 else ("fd00:1::1", C6)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    header = (20 if version == 4 else 40) + 20
    HOST.sysctl("ipv4/tcp_timestamps", 0)
    control.load_rules(SENTINEL_RULE, "allow proto tcp dport 5001 hook local_out")
    control.trace("proto tcp dport 5001 hook local_out")
    listener = net.client.make_socket(family, socket.SOCK_STREAM)
    listener.bind((target, 5001))
    listener.listen()
    listener.settimeout(PATIENCE)

    def receive(_: Stop) -> int:
        sock, _ = listener.accept()
        total = 0
        while piece := sock.recv(1 << 16):
            total += len(piece)
        return total

    try:
        with (
            running(receive) as child,
            HOST.make_socket(family, socket.SOCK_STREAM) as sock,
        ):
            listener.close()
            sock.settimeout(PATIENCE)
            sock.bind((source, 0))
            sock.connect((target, 5001))
            sock.sendall(bytes(size))
            sock.shutdown(socket.SHUT_WR)
            assert child.result() == size
    finally:
        HOST.sysctl("ipv4/tcp_timestamps", 1)
    lines: list[TraceLine] = []

    def agree() -> bool:
        """Whether the trace and the counter tell of the same packets; the last may be just on its way."""
        lines.extend(tracer.lines())
        counter = control.counters()[1]
        traced = len(lines), sum(line.len for line in lines)
        return (counter.packets, counter.bytes) == traced

    until(agree, "trace and counter agree")
    data = sum(line.len - header for line in lines if "SYN" not in (line.flags or ""))
    # On a busy machine TCP may have sent something twice.
    assert size <= data < 2 * size
    assert max(line.len for line in lines) > 1500, "no segment was larger than a frame"
