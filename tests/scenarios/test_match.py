# SPDX-License-Identifier: GPL-2.0
"""Each match word, with packets that it means and packets that it does not.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Packets are put on the client's wire, and either come out at the server's or not: what the
module says of them is not asked. Each set of words is tried in a `deny` rule, and those about
addresses, protocols and ports also in an `allow` rule before `default deny`.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lib import control
from lib.control import SENTINEL_RULE
from lib.netns import HOST
from lib.packets import datagram, ipv4, ipv6
from lib.poll import PATIENCE
from lib.topology import ADDRESSES, Published, Routed, bridge_calls

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
    # Lists, ranges, negation
    Case("from { 10.1.0.2, fd00:1::2 }", [ip(), ip(version=6)], [ip(src="10.1.0.3"), ip(src="fd00:1::3")]),
    Case("to 198.51.100.7,10.2.0.0/16", [ip(dst=FAR4), ip()], [ip(dst="198.51.100.8"), ip(version=6)]),
    Case("from 192.168.7.5-192.168.7.9", [ip(src="192.168.7.5"), ip(src="192.168.7.9")],
         [ip(src="192.168.7.4"), ip(src="192.168.7.10")]),
    Case("from fd00:1::5-fd00:1::1:0", [ip(src="fd00:1::5"), ip(src="fd00:1::ffff")],
         [ip(src="fd00:1::4"), ip(src="fd00:1::1:1"), ip()]),
    Case("from !10.1.0.0/16", [ip(src="192.168.7.4"), ip(version=6)], [ip(), ip(src="10.1.255.1")]),
    Case("to !{ 10.2.0.0/16, fd00:2::/64 }", [ip(dst=FAR4), ip(dst=FAR6)], [ip(), ip(version=6)]),
    Case("proto { tcp, 132 }", [ip(TCP), ip(SCTP)], [ip(), ip(GRE)]),
    Case("proto !udp", [ip(TCP), echo(), ip(GRE)], [ip(), ip(version=6)]),
    Case("dport { 5, 100-200 }", [ip(dport=5), ip(TCP, dport=150)], [ip(), ip(dport=6), echo()]),
    # Something without ports has none that is another one.
    Case("dport !8,9", [ip(), ip(TCP)], [ip(dport=8), echo(), ip(GRE)]),
    Case("sport !40000 proto tcp", [ip(TCP, sport=1)], [ip(TCP), ip(sport=1)]),
    Case("family ipv4", [ip(), echo(), ip(GRE)], [ip(version=6), echo(6)]),
    Case("family !ipv4 proto udp", [ip(version=6)], [ip()]),
    Case("icmp-type echo-request", [echo(), echo(6)],
         [ip(), ip(ICMP, payload=b"\x00\x00" + bytes(6)), ip(ICMP, payload=b"\x80\x00" + bytes(6))]),
    Case("icmp-type 8", [echo()], [echo(6), ip(ICMP, payload=b"\x0d\x00" + bytes(6))]),
    Case("icmp-type 8/1", [ip(ICMP, payload=b"\x08\x01" + bytes(6))], [echo()]),
    Case("icmp-type { 13, 17 }",
         [ip(ICMP, payload=b"\x0d\x00" + bytes(6)), ip(ICMP, payload=b"\x11\x00" + bytes(6))], [echo()]),
    Case("icmp-type !echo-request", [ip(ICMP, payload=b"\x0d\x00" + bytes(6))], [echo(), echo(6), ip()]),
    Case("mark 0", [ip(), echo(6)], []),
    Case("mark 1/1", [], [ip(), ip(version=6)]),
    Case("fragment no", [ip(), ip(version=6)], []),
    Case("fragment !no", [], [ip(), ip(version=6)]),
    Case("in { cl0, srv0 }", [ip()], [], False),
    Case("in !cl0 netns host", [], [ip()], False),
    Case("out !cl0,lo", [ip()], [], False),
    # Where there is no interface, none is another one.
    Case("out !cl0 hook pre_routing", [], [ip()], False),
    Case("hook !{ forward, post_routing } in cl0", [ip()], [], False),
    Case("hook !{ pre_routing, forward, post_routing } in cl0", [], [ip()], False),
    Case("port-in *", [], [ip()], False),
    Case("port-in !x", [], [ip()], False),
    Case("netns { host, 1 }", [ip()], [], False),
    Case("netns !host in cl0", [], [ip()], False),
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
    # Reports of multicast groups, which any word may mean, go by now and then.
    control.load_rules(SENTINEL_RULE, "allow to ff00::/8", f"deny {case.words}")
    assert verdicts(net, packets) == passing
    assert control.counters()[2].packets == len(case.hits)

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
    "{ forward, local_out }": (True, False, True),
    "!{ forward, pre_routing, post_routing }": (False, True, True),
    "!local_in": (True, True, True),
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
        f"{{ {clients}, {servers} }}": (True, False, False),
        "!host": (True, False, False),
        f"!{clients}": (False, True, False),
        f"!{{ host, {servers} }}": (True, False, True),
    }
    for words, sends in expected.items():
        control.load_rules(f"deny proto udp dport 7 hook local_out netns {words}")
        assert (
            net.sends(HOST, "10.1.0.2"),
            net.sends(net.client, "10.1.0.1"),
            net.sends(net.server, "10.2.0.1"),
        ) == sends, words


def test_mark(net: Routed) -> None:
    """The mark that a socket gave its packets, in the bits that count."""
    for mark, words, stopped in (
        (0x11, "0x11", True),
        (0x11, "17", True),
        (0x11, "0x10", False),
        (0x11, "0x10/0xf0", True),
        (0x11, "1/0xf", True),
        (0x11, "2/0xf", False),
        (0x11, "{ 5, 0x11 }", True),
        (0x11, "!0x11", False),
        (0x11, "!0", True),
        (0, "!0", False),
        (0xFFFFFFFF, "0xffffffff", True),
    ):
        control.load_rules(f"deny proto udp dport 7 mark {words} hook local_out")
        with HOST.udp() as sock:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_MARK, mark.to_bytes(4, "little")
            )
            if stopped:
                with pytest.raises(PermissionError):
                    sock.sendto(b"x", (C4, 7))
            else:
                sock.sendto(b"x", (C4, 7))


# Words -> whether they stop the client's datagram to web, bridged by the host
BRIDGED = {
    "port-in veth-cli": True,
    "port-in veth-*": True,
    "port-in br0": False,
    "port-in !veth-cli": False,
    "port-in { x, veth-cli }": True,
    "port-in !veth-web": True,
    "port-out veth-web hook forward": True,
    "port-out veth-cli": False,
    "port-in veth-cli port-out veth-web in br0 out br0": True,
    "port-in @ports": True,
    "port-in !@ports": False,
}


@pytest.mark.parametrize("version", [4, 6])
def test_bridge_ports(version: int) -> None:
    """The ports of the bridge, where br_netfilter notes them; and nowhere else."""
    HOST.run(["modprobe", "br_netfilter"])
    web, client = ADDRESSES[version]["web"], ADDRESSES[version]["client"]
    with (
        Published(published=False) as net,
        net.web.udp(web, 7) as sink,
        net.client.udp(client) as sock,
    ):
        sink.settimeout(PATIENCE)
        control.load_rules()
        bridge_calls(1)
        sock.sendto(b"first", (web, 7))
        assert sink.recv(10) == b"first"
        for words, stopped in BRIDGED.items():
            control.load_rules(
                "set ports { veth-cli, x* }",
                f"deny proto udp dport 7 {words} netns host",
            )
            sock.sendto(b"x", (web, 7))
            control.load_rules()
            sock.sendto(b"sentinel", (web, 7))
            got = sink.recv(10)
            assert (got == b"sentinel") == stopped, words
            if not stopped:
                assert sink.recv(10) == b"sentinel"
        bridge_calls(0)
        control.load_rules("deny port-in *")
        sock.sendto(b"past IP", (web, 7))
        assert sink.recv(10) == b"past IP"


@pytest.mark.parametrize("version", [4, 6])
def test_fragments(net: Routed, version: int) -> None:
    """`fragment`, with the pieces of a datagram as they are put on the wire."""
    if version == 4:
        first = ipv4(C4, S4, UDP, PORTS, more=True, identification=9)
        later = ipv4(C4, S4, UDP, PORTS, offset=24, identification=9)
        whole = ip()
    else:
        first = ipv6(C6, S6, 44, bytes([UDP, 0, 0, 1, 0, 0, 0, 9]) + PORTS[:16])
        later = ipv6(C6, S6, 44, bytes([UDP, 0, 0, 16, 0, 0, 0, 9]) + PORTS)
        whole = ip(version=6)
    # Without the last two words it would let later fragments pass.
    sentinel = f"{SENTINEL_RULE} fragment no"
    for words, passes in (
        ("no", [True, True, False]),
        ("first", [False, True, True]),
        ("later", [True, False, True]),
        ("{ first, later }", [False, False, True]),
        ("!first", [True, False, False]),
        ("no,first,later", [False, False, False]),
    ):
        control.load_rules(sentinel, f"deny proto udp fragment {words}")
        assert net.forwarded(first, later, whole) == passes, words
        control.load_rules(
            sentinel,
            f"allow proto udp fragment {words}",
            "default deny netns host",
        )
        assert net.forwarded(first, later, whole) == [not p for p in passes], words


SETS = (
    "set private { 10.0.0.0/8, fd00::/16 }",
    "set web {",
    "\t80, 443 # plain, and not",
    "\t8000-8999",
    "}",
    "set wires { cl*, lo }",
    "set nothing { }",
)
NAMED = [
    Case("to @private", [ip(), ip(version=6)], [ip(dst=FAR4), ip(dst=FAR6)]),
    Case("to !@private", [ip(dst=FAR4), ip(dst=FAR6)], [ip(), ip(version=6)]),
    Case("dport @web", [ip(dport=80), ip(TCP, dport=8500)], [ip(), echo()]),
    Case("dport !@web", [ip()], [ip(dport=443), echo()]),
    Case("in @wires", [ip()], [], False),
    Case("out @wires", [], [ip()], False),
    Case("out !@wires", [ip()], [], False),
    Case("to @nothing", [], [ip(), ip(version=6)]),
    Case("from @private dport @web in @wires", [ip(dport=80)],
         [ip(dport=81), ip(src="192.168.7.1", dport=80)], False),
]  # fmt: skip


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.words)
def test_named_sets(net: Routed, case: Case) -> None:
    """Rules that name sets, in the text that defines them and in one that is added later."""
    packets = case.hits + case.misses
    passing = [False] * len(case.hits) + [True] * len(case.misses)
    control.load_rules(*SETS, SENTINEL_RULE, f"deny {case.words}")
    assert verdicts(net, packets) == passing
    control.load_rules(*SETS, SENTINEL_RULE)
    control.load_rules(f"deny {case.words}", append=True)
    assert verdicts(net, packets) == passing
    assert control.rules()[-1] == f"deny {case.words}"


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
