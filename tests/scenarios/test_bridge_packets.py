# SPDX-License-Identifier: GPL-2.0
"""Frames between two ports of a bridge, as br_netfilter hands them to the hooks.

    client                  host                        web
    eth0 172.17.0.4  ---  veth-cli  br0  veth-web  ---  eth0 172.17.0.2

br_netfilter checks less than IP does, and finds IP behind VLAN tags and in PPPoE sessions when
asked to. Proven: such packets are read and judged as what they are, also where a denied address
hides behind a tag.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib import control
from lib.netns import HOST
from lib.packets import IP, TCP, IPv6, ipv4, ipv6
from lib.poll import until
from lib.topology import ADDRESSES, BRIDGE_SYSCTLS, MACS, Published, bridge_calls
from lib.trace import TraceLine, Tracer

PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
C4, W4 = ADDRESSES[4]["client"], ADDRESSES[4]["web"]
C6, W6 = ADDRESSES[6]["client"], ADDRESSES[6]["web"]
UDP = 17


def plain(kind: int, packet: bytes) -> bytes:
    """An Ethernet frame from the client to the web server."""
    macs = (MACS["web"] + MACS["client"]).replace(":", "")
    return bytes.fromhex(macs) + struct.pack("!H", kind) + packet


def tagged(kind: int, packet: bytes) -> bytes:
    """In a VLAN."""
    return plain(0x8100, struct.pack("!HH", 5, kind) + packet)


def pppoe(kind: int, packet: bytes) -> bytes:
    """In a PPPoE session."""
    proto = 0x0021 if kind == 0x0800 else 0x0057
    session = struct.pack("!BBHHH", 0x11, 0, 7, len(packet) + 2, proto)
    return plain(0x8864, session + packet)


READ = {"proto": "UDP", "spt": 40000, "dpt": 7, "unparsed": None}
V4 = ipv4(C4, W4, UDP, PORTS)
V6 = ipv6(C6, W6, UDP, PORTS)
LYING = ipv6(C6, W6, 60, bytes([UDP, 200]) + bytes(6))

FRAMES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "4": (plain(0x0800, V4), READ),
    "6": (plain(0x86DD, V6), READ),
    "4 in a VLAN": (tagged(0x0800, V4), READ),
    "6 in a VLAN": (tagged(0x86DD, V6), READ),
    "4 in PPPoE": (pppoe(0x0800, V4), READ),
    "6 in PPPoE": (pppoe(0x86DD, V6), READ),
    "4 with padding": (plain(0x0800, V4 + bytes(18)), READ | {"len": len(V4)}),
    "4 TCP of three bytes": (
        plain(0x0800, ipv4(C4, W4, 6, PORTS[:3])),
        {"proto": "TCP", "unparsed": "short-transport"},
    ),
    "4 TCP of three bytes in a VLAN": (
        tagged(0x0800, ipv4(C4, W4, 6, PORTS[:3])),
        {"proto": "TCP", "unparsed": "short-transport"},
    ),
    "4 later fragment": (
        plain(0x0800, ipv4(C4, W4, UDP, PORTS, offset=1480)),
        {"proto": "UDP", "frag": "1480", "dpt": None},
    ),
    "6 destination options that lie": (
        plain(0x86DD, LYING),
        {"unparsed": "short-extension", "dpt": None},
    ),
    "6 destination options that lie in a VLAN": (
        tagged(0x86DD, LYING),
        {"unparsed": "short-extension", "dpt": None},
    ),
}


@pytest.fixture(scope="module")
def net() -> Iterator[Published]:
    """The bridge, with br_netfilter looking into everything."""
    HOST.run(["modprobe", "br_netfilter"])
    with Published(published=False) as network:
        bridge_calls(1)
        switches = [
            BRIDGE_SYSCTLS / f"bridge-nf-filter-{what}-tagged"
            for what in ("vlan", "pppoe")
        ]
        set_all(switches, 1)
        # The ports of the bridge are learnt first: a flooded frame is another sk_buff.
        for version in (4, 6):
            network.connect(network.client, version, "web", 8080).close()
        yield network
        set_all(switches, 0)


def set_all(files: list[Path], value: int) -> None:
    """Sets sysctls."""
    for file in files:
        file.write_text(f"{value}\n")


@pytest.fixture
def wire(net: Published) -> Iterator[socket.socket]:
    """The client's wire."""
    with net.client.packet("eth0", receive=False) as sock:
        yield sock


def lines_of_packet(tracer: Tracer, count: int) -> list[TraceLine]:
    """The lines that a packet from the client leaves at the host's hooks."""
    found: list[TraceLine] = []

    def enough() -> bool:
        found.extend(line for line in tracer.lines() if line.src in (C4, C6))
        return len(found) >= count

    until(enough, f"{count} lines of the packet")
    return found


@pytest.mark.parametrize("name", FRAMES)
def test_frame(wire: socket.socket, tracer: Tracer, name: str) -> None:
    """A frame is read right at all three hooks, once each."""
    frame, expected = FRAMES[name]
    # The client's answers to who looks for its neighbours are not the frame.
    control.trace(f"netns host from {C4}", f"netns host from {C6} proto !icmpv6")
    wire.send(frame)
    lines = lines_of_packet(tracer, 3)
    assert [line.hook for line in lines] == ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]
    for line in lines:
        assert {field: getattr(line, field) for field in expected} == expected
        assert (line.src, line.dst) in ((C4, W4), (C6, W6))
    assert len({line.id for line in lines}) == 1
    assert lines[0].physin == "veth-cli"


# Of a local experiment: no hook ever sees it.
END = plain(0x88B5, b"end")


@pytest.mark.parametrize("hook", ["pre_routing", "forward", "post_routing"])
@pytest.mark.parametrize("wrap", [plain, tagged, pppoe], ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize(
    ("kind", "packet"), [(0x0800, V4), (0x86DD, V6)], ids=["4", "6"]
)
def test_denied_frame(
    net: Published, wire: socket.socket, kind: int, packet: bytes, wrap: Any, hook: str
) -> None:
    """What is denied does not come out of the other port, whatever it is wrapped in."""
    with net.web.packet("eth0") as tap:
        for rules, passes in ((f"deny proto udp dport 7 hook {hook} netns host", False),
                              (f"deny proto udp dport 8 hook {hook} netns host", True)):  # fmt: skip
            control.load_rules(rules)
            wire.send(wrap(kind, packet))
            wire.send(END)
            assert comes_out(tap, packet) == passes, rules


@pytest.mark.parametrize("hook", ["pre_routing", "forward", "post_routing"])
@pytest.mark.parametrize("wrap", [plain, tagged, pppoe], ids=lambda wrap: wrap.__name__)
def test_rejected_frame(
    net: Published, wire: socket.socket, wrap: Any, hook: str
) -> None:
    """What is rejected does not come out either, and the kernel bears to answer it."""
    syn = struct.pack("!HHIIBBHHH", 40000, 7, 1, 0, 0x50, 2, 100, 0, 0)
    options = b"\x07\x27\x04" + bytes(36) + b"\x01"
    packets = [
        (0x0800, V4),
        (0x86DD, V6),
        (0x0800, bytes(IP(src=C4, dst=W4) / TCP(sport=40000, dport=7))),
        (0x86DD, bytes(IPv6(src=C6, dst=W6) / TCP(sport=40000, dport=7))),
        (0x0800, ipv4(C4, W4, 6, syn)),
        (0x0800, ipv4(C4, W4, UDP, PORTS, options=options)),
        (0x0800, ipv4(C4, W4, UDP, PORTS, offset=1480)),
        (0x86DD, LYING),
    ]
    with net.web.packet("eth0") as tap:
        for answer in ("", "with icmp-net-prohibited "):
            control.load_rules(f"reject {answer}hook {hook} netns host")
            for kind, packet in packets:
                wire.send(wrap(kind, packet))
                wire.send(END)
                assert not comes_out(tap, packet)
    assert control.counters()[0].packets >= len(packets)


def comes_out(tap: socket.socket, packet: bytes) -> bool:
    """Whether a packet came before the end did."""
    came = False
    while True:
        frame = tap.recv(2048)
        if frame == END:
            return came
        # On its way a hop limit does not change: it is the same packet to the byte.
        came |= packet in frame
