# SPDX-License-Identifier: GPL-2.0
"""Each match word, with packets that it means and packets that it does not.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Packets are put on the client's wire, and either come out at the server's or not: what the
module says of them is not asked. Each set of words is tried in a `deny` rule, and those about
addresses, protocols and ports also in an `allow` rule before `default deny`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lib import control
from lib.control import SENTINEL_RULE
from lib.netns import HOST
from lib.packets import datagram, ipv4, ipv6
from lib.topology import Routed

C4, S4, C6, S6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
# Addresses behind the server
FAR4, FAR6 = "198.51.100.7", "2001:db8:51::7"
ICMP, TCP, UDP, DCCP, GRE, ESP, AH, ICMPV6, OSPF, SCTP, UDPLITE = (
    1, 6, 17, 33, 47, 50, 51, 58, 89, 132, 136,
)  # fmt: skip


def ip(
    proto: int = UDP,
    src: str | None = None,
    dst: str | None = None,
    payload: bytes | None = None,
    *,
    sport: int = 40000,
    dport: int = 7,
    version: int = 4,
) -> bytes:
    """A packet whose payload begins with two ports."""
    body = (
        sport.to_bytes(2) + dport.to_bytes(2) + bytes(16)
        if payload is None
        else payload
    )
    if version == 4 and ":" not in f"{src}{dst}":
        return ipv4(src or C4, dst or S4, proto, body)
    return ipv6(src or C6, dst or S6, proto, body)


def echo(version: int = 4) -> bytes:
    """A ping. Taken for ports, its first bytes would be 2048 or 32768, and its checksum."""
    if version == 4:
        return ip(ICMP, payload=b"\x08\x00\x00\x07" + bytes(8))
    return ip(ICMPV6, payload=b"\x80\x00\x00\x07" + bytes(8), version=6)


def behind_options(proto: int, payload: bytes) -> bytes:
    """An IPv6 packet with a destination options header before its payload."""
    return ipv6(C6, S6, 60, bytes([proto, 0, 1, 4, 0, 0, 0, 0]) + payload)


PORTS = b"\x9c\x40\x00\x07" + bytes(16)


@dataclass
class Case:
    """Words, packets that they mean, and packets that they do not."""

    words: str
    hits: list[bytes]
    misses: list[bytes]
    # Whether the words mean the packet at every hook of the host.
    everywhere: bool = field(default=True)


CASES = [
    # Addresses
    Case("from 10.1.0.2", [ip()], [ip(src="10.1.0.3"), ip(version=6)]),
    Case("from 192.168.7.0/24", [ip(src="192.168.7.1"), ip(src="192.168.7.254")],
         [ip(src="192.168.6.255"), ip(src="192.168.8.1")]),
    Case("from 192.168.7.77/24", [ip(src="192.168.7.1")], [ip(src="192.168.8.77")]),
    Case("from 192.168.7.8/31", [ip(src="192.168.7.8"), ip(src="192.168.7.9")],
         [ip(src="192.168.7.7"), ip(src="192.168.7.10")]),
    Case("from 128.0.0.0/1", [ip(src="192.168.7.8")], [ip()]),
    Case("from 0.0.0.0/0", [ip(), ip(src="192.0.2.1")], [ip(version=6)]),
    Case("to 198.51.100.7", [ip(dst=FAR4)], [ip(), ip(dst="198.51.100.8")]),
    Case("to 198.51.100.0/25", [ip(dst="198.51.100.127")], [ip(dst="198.51.100.128")]),
    Case("to 0.0.0.0/0", [ip()], [ip(version=6)]),
    Case("from 10.1.0.2 to 198.51.100.0/24", [ip(dst=FAR4)],
         [ip(), ip(src="10.1.0.3", dst=FAR4), ip(src=FAR4, dst="10.2.0.2")]),
    Case("from fd00:1::2", [ip(version=6)], [ip(src="fd00:1::3"), ip()]),
    Case("from fd00:1::/32", [ip(src="fd00:1:ffff::1")], [ip(src="fd00:2::9"), ip()]),
    Case("from fd00:1::2/127", [ip(src="fd00:1::2"), ip(src="fd00:1::3")],
         [ip(src="fd00:1::4"), ip(src="fd00:1::1:2")]),
    Case("from ::/0", [ip(version=6)], [ip()]),
    Case("from 8000::/1", [ip(version=6)], [ip(src="2001:db8::1")]),
    Case("to 2001:db8:51::7", [ip(dst=FAR6)], [ip(version=6), ip(dst="2001:db8:51::8")]),
    Case("to 2001:db8:51:8000::/49", [ip(dst="2001:db8:51:8001::1")], [ip(dst=FAR6)]),
    Case("to 2001:db8::/32 from fd00::/16", [ip(dst=FAR6)], [ip(version=6)]),
    # Protocols
    Case("proto tcp", [ip(TCP), ip(TCP, version=6)], [ip(), ip(version=6), echo()]),
    Case("proto 6", [ip(TCP)], [ip()]),
    Case("proto udp", [ip(), ip(version=6), behind_options(UDP, PORTS)],
         [ip(TCP), ip(UDPLITE), behind_options(TCP, PORTS)]),
    Case("proto 17", [ip()], [ip(TCP)]),
    Case("proto icmp", [echo()], [echo(6), ip()]),
    Case("proto icmpv6", [echo(6)], [echo(), ip(version=6)]),
    Case("proto ipv6-icmp", [echo(6)], [echo()]),
    Case("proto 58", [echo(6)], [echo()]),
    Case("proto gre", [ip(GRE)], [ip()]),
    Case("proto esp", [ip(ESP), ip(ESP, version=6)], [ip(), ip(AH)]),
    Case("proto ah", [ip(AH)], [ip(ESP)]),
    Case("proto ospf", [ip(OSPF)], [ip()]),
    Case("proto sctp", [ip(SCTP), ip(SCTP, version=6)], [ip()]),
    Case("proto dccp", [ip(DCCP)], [ip()]),
    Case("proto udplite", [ip(UDPLITE)], [ip()]),
    Case("proto 253", [ip(253)], [ip(254)]),
    # Ports
    Case("dport 7", [ip(), ip(TCP), ip(SCTP), ip(DCCP), ip(UDPLITE), ip(version=6)],
         [ip(dport=8), ip(sport=7, dport=8), ip(GRE), ip(ESP), echo(), echo(6)]),
    Case("sport 40000", [ip(), ip(TCP, version=6), behind_options(UDP, PORTS)],
         [ip(sport=40001), ip(sport=1, dport=40000), ip(GRE)]),
    Case("sport 2048", [ip(sport=2048)], [echo()]),
    Case("sport 32768", [ip(sport=32768, version=6)], [echo(6)]),
    Case("proto tcp dport 7", [ip(TCP)], [ip(), ip(TCP, dport=8)]),
    Case("proto udp sport 40000 dport 7", [ip()],
         [ip(sport=40001), ip(dport=8), ip(TCP), ip(sport=7, dport=40000)]),
    Case("dport 100-200", [ip(dport=100), ip(dport=150), ip(TCP, dport=200)],
         [ip(dport=99), ip(dport=201), ip(sport=150)]),
    Case("sport 100-200", [ip(sport=100), ip(sport=200)], [ip(sport=99), ip(sport=201)]),
    Case("dport 0", [ip(dport=0)], [ip(dport=256), ip(dport=1)]),
    Case("dport 65535", [ip(dport=65535)], [ip(dport=65534), ip(dport=255)]),
    Case("dport 0-65535", [ip(dport=10), ip(TCP, dport=0)], [echo(), ip(GRE)]),
    # Interfaces; at PRE_ROUTING there is no `out` yet, at FORWARD there are both.
    Case("in cl0", [ip(), ip(version=6)], [], False),
    Case("in srv0", [], [ip(), ip(version=6)], False),
    Case("in cl", [], [ip()], False),
    Case("in cl00", [], [ip()], False),
    Case("in cl*", [ip()], [], False),
    Case("in c*", [ip()], [], False),
    Case("in cl0*", [ip()], [], False),
    Case("in cl0x*", [], [ip()], False),
    Case("in l*", [], [ip()], False),
    Case("in *", [ip()], [], False),
    Case("out srv0", [ip(), ip(version=6)], [], False),
    Case("out cl0", [], [ip()], False),
    Case("out srv*", [ip()], [], False),
    Case("out *", [ip()], [], False),
    Case("out * hook pre_routing", [], [ip()], False),
    Case("in cl0 out srv0", [ip()], [], False),
    Case("in srv0 out cl0", [], [ip()], False),
    Case("in cl0 out cl0", [], [ip()], False),
    # All at once
    Case("from 10.1.0.0/24 to 10.2.0.0/24 proto udp sport 40000 dport 7 in cl0 out srv0 "
         "hook forward netns host", [ip()], [ip(dport=8), ip(src="10.1.1.2"), ip(TCP)], False),
]  # fmt: skip


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all cases."""
    with Routed() as network:
        yield network


def verdicts(net: Routed, packets: list[bytes]) -> list[bool]:
    """Whether each packet comes through; one version at a time, so that sentinels hold."""
    found = {}
    for version in (4, 6):
        group = [packet for packet in packets if packet[0] >> 4 == version]
        if group:
            found.update(zip(group, net.forwarded(*group), strict=True))
    return [found[packet] for packet in packets]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_words(net: Routed, case: Case) -> None:
    """Words in a rule that denies, and turned round."""
    packets = case.hits + case.misses
    passing = [False] * len(case.hits) + [True] * len(case.misses)
    control.load_rules(SENTINEL_RULE, f"deny {case.words}")
    assert verdicts(net, packets) == passing
    assert control.counters()[1].packets == len(case.hits)

    if case.everywhere:
        control.load_rules(
            SENTINEL_RULE, f"allow {case.words}", "default deny netns host"
        )
        assert verdicts(net, packets) == [not passes for passes in passing]


# What the rule `deny hook HOOK netns host` stops, of: a packet through the host, one for its own
# sockets, one from its own sockets.
HOOK_STOPS = {
    "pre_routing": (True, True, False),
    "local_in": (False, True, False),
    "forward": (True, False, False),
    "post_routing": (True, False, True),
    "local_out": (False, False, True),
    "prerouting": (True, True, False),
    "input": (False, True, False),
    "postrouting": (True, False, True),
    "output": (False, False, True),
    "local_in,forward": (True, True, False),
    "output,input": (False, True, True),
    "pre_routing,local_in,forward,post_routing,local_out": (True, True, True),
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hooks", HOOK_STOPS)
def test_hook(net: Routed, hooks: str, version: int) -> None:
    """Each hook by either name, alone and in lists, and no other hook."""
    control.load_rules(SENTINEL_RULE, f"deny proto udp dport 7 hook {hooks} netns host")
    through = ip(version=version)
    client, host = (C4, "10.1.0.1") if version == 4 else (C6, "fd00:1::1")
    stops = (
        net.forwarded(through) == [False],
        net.accepted(datagram(client, host, 7)) == 0,
        not net.sends(HOST, client),
    )
    assert stops == HOOK_STOPS[hooks]


def test_netns(net: Routed) -> None:
    """`host`, `container` and inode numbers mean the namespaces that they say."""
    hosts, clients, servers = HOST.inode, net.client.inode, net.server.inode
    expected = {
        "host": (False, True, True),
        "container": (True, False, False),
        str(hosts): (False, True, True),
        str(clients): (True, False, True),
        str(servers): (True, True, False),
        "1": (True, True, True),
    }
    for words, sends in expected.items():
        control.load_rules(f"deny proto udp dport 7 hook local_out netns {words}")
        assert (
            net.sends(HOST, "10.1.0.2"),
            net.sends(net.client, "10.1.0.1"),
            net.sends(net.server, "10.2.0.1"),
        ) == sends, words


def test_first_match_wins(net: Routed) -> None:
    """Of two rules that mean a packet the first decides, whichever is narrower."""
    narrow, wide = f"from {C4} dport 7", "proto udp"
    for first, second, passes in (
        (f"allow {narrow}", f"deny {wide}", True),
        (f"deny {wide}", f"allow {narrow}", False),
        (f"deny {narrow}", f"allow {wide}", False),
        (f"allow {wide}", f"deny {narrow}", True),
    ):
        control.load_rules(SENTINEL_RULE, first, second)
        assert net.forwarded(ip()) == [passes], (first, second)
        # The second never even gets to see the packet.
        assert [c.packets > 0 for c in control.counters()[1:3]] == [True, False]


def test_a_rule_without_words_means_everything(net: Routed) -> None:
    """`deny` alone: every packet of both families at every hook in every namespace."""
    control.load_rules(SENTINEL_RULE, "deny")
    assert net.forwarded(ip(), ip(TCP), echo(), ip(GRE)) == [False] * 4
    assert net.forwarded(ip(version=6), echo(6)) == [False] * 2
    assert not net.sends(HOST, C4)
    assert not net.sends(net.client, "fd00:1::1")
