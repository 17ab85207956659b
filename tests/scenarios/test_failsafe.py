# SPDX-License-Identifier: GPL-2.0
"""The `failsafe` statement: ways in to the host that no rule closes, and nothing else.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import socket
import struct
from collections.abc import Iterator

import pytest

from lib import control
from lib.control import SENTINEL_PORT
from lib.netns import HOST, Namespace
from lib.packets import datagram, ipv4, ipv6
from lib.poll import PATIENCE
from lib.topology import Routed
from lib.trace import Tracer

# The sentinels' port is one of them: through the host rule 1 lets it pass.
FAILSAFE = f"failsafe {{ tcp 22, udp 7, udp {SENTINEL_PORT} }}"
THROUGH = f"allow proto udp dport {SENTINEL_PORT} hook pre_routing,forward,post_routing"
CLOSED = [FAILSAFE, THROUGH, "deny"]
ADDRESSES = {4: ("10.1.0.2", "10.1.0.1"), 6: ("fd00:1::2", "fd00:1::1")}


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def listener(address: str, port: int) -> socket.socket:
    """A socket of the host that takes connections."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = HOST.make_socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen()
    return sock


def connects(
    netns: Namespace, address: str, port: int, patience: float = PATIENCE
) -> bool:
    """Whether a connection comes about and carries data both ways."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        listener(address, port) as server,
        netns.make_socket(family, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(patience)
        try:
            client.connect((address, port))
        except TimeoutError:
            return False
        conn, _ = server.accept()
        with conn:
            client.sendall(b"in")
            assert conn.recv(2) == b"in"
            conn.sendall(b"out")
            assert client.recv(3) == b"out"
        return True


@pytest.mark.parametrize("version", [4, 6])
def test_way_in(net: Routed, version: int) -> None:
    """A connection to such a port works though all is denied; one to another does not."""
    _, host = ADDRESSES[version]
    # The client's own namespace is not the host's.
    control.load_rules(FAILSAFE, "allow netns container", "deny")
    assert connects(net.client, host, 22)
    assert not connects(net.client, host, 23, 0.5)
    # To the host's other address, too.
    assert connects(net.client, "10.2.0.1" if version == 4 else "fd00:2::1", 22)
    # A fragment of such a packet comes with the rest.
    first = control.counters()[0]
    assert (first.number, first.text) == ("failsafe", FAILSAFE)
    assert first.packets >= 8
    control.load_rules("allow netns container", "deny")
    assert not connects(net.client, host, 22, 0.5)


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams(net: Routed, version: int) -> None:
    """What is for the host, and for such a port, gets there; the protocol counts."""
    client, host = ADDRESSES[version]
    control.load_rules(*CLOSED)
    assert net.accepted(datagram(client, host, 7)) == 1
    control.load_rules(f"failsafe {{ tcp 7, udp {SENTINEL_PORT} }}", "deny")
    assert net.accepted(datagram(client, host, 7)) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_else(net: Routed, version: int) -> None:
    """What is for others is judged by the rules, at every hook."""
    make, (client, _) = (ipv4, ipv6)[version == 6], ADDRESSES[version]
    server = "10.2.0.2" if version == 4 else "fd00:2::2"
    control.load_rules(*CLOSED)

    def ports(source: int, dest: int) -> bytes:
        return source.to_bytes(2) + dest.to_bytes(2) + b"\0\x08\0\0"

    # To such a port of somebody else, and from such a port, with an address of somebody else.
    packets = [
        make(client, server, 17, ports(4000, 7)),
        make(client, server, 17, ports(7, 4000)),
    ]
    assert net.forwarded(*packets) == [False, False]
    # Nor may the host connect to such a port elsewhere, and containers have no way in at all.
    assert not net.sends(HOST, client)
    assert not net.sends(net.client, ADDRESSES[version][1])
    # Forwarding is none of its business, wherever the rules end.
    control.load_rules(FAILSAFE, THROUGH, "deny hook post_routing,forward")
    assert net.forwarded(*packets) == [False, False]


def test_broadcast_and_fragments(net: Routed) -> None:
    """Packets for all are for the host, too; a later fragment has no port, and passes."""
    control.load_rules(*CLOSED, "default deny")

    def count() -> int:
        return control.counters()[0].packets

    for destination in ("255.255.255.255", "10.1.0.255", "224.0.0.1"):
        before = count()
        net.inject(datagram("10.1.0.2", destination, 7))
        net.accepted(datagram("10.1.0.2", "10.1.0.1", 7))
        # PRE_ROUTING for it at least; two hooks for each of the other two
        assert count() - before >= 5, destination
    body = b"\x9c\x40\x00\x07" + struct.pack("!HH", 8 + 24, 0) + b"x" * 24
    pieces = [
        ipv4("10.1.0.2", "10.1.0.1", 17, body[:16], more=True, identification=77),
        ipv4("10.1.0.2", "10.1.0.1", 17, body[16:], offset=16, identification=77),
    ]
    assert net.accepted(*pieces) == 1


def test_trace(net: Routed, tracer: Tracer) -> None:
    """The trace names the statement."""
    control.load_rules(*CLOSED)
    control.trace("proto udp dport 7 netns host")
    net.accepted(datagram("10.1.0.2", "10.1.0.1", 7))
    assert [(line.hook, line.verdict, line.rule) for line in tracer.lines()] == [
        ("PRE_ROUTING", "allow", "failsafe"),
        ("LOCAL_IN", "allow", "failsafe"),
    ]


def test_listed_and_replaced(net: Routed) -> None:
    """First in the listing; `>>` replaces it and keeps its count if it says the same."""
    control.load_rules("default deny", THROUGH, "deny", FAILSAFE)
    assert control.rules() == [FAILSAFE, THROUGH.replace(
        "pre_routing,forward,post_routing", "{ pre_routing, forward, post_routing }"
    ), "deny", "default deny"]  # fmt: skip
    net.accepted(datagram("10.1.0.2", "10.1.0.1", 7))
    before = control.counters()[0].packets
    assert before >= 4
    control.load_rules(FAILSAFE, append=True)
    assert control.counters()[0].packets >= before
    control.load_rules("failsafe { tcp 1 }", append=True)
    assert control.rules()[0] == "failsafe { tcp 1 }"
    assert control.counters()[0].packets == 0
    control.load_rules("failsafe { }", append=True)
    assert control.counters()[0].number == "1"
