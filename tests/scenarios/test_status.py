# SPDX-License-Identifier: GPL-2.0
"""/proc/ctrfw/status and /proc/ctrfw/counters: exact numbers for known packets.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

from collections.abc import Iterator

import pytest

from lib import control, module, nft
from lib.control import SENTINEL_RULE, Status
from lib.netns import HOST, Namespace, alive
from lib.packets import ipv4, ipv6
from lib.poll import until
from lib.topology import Routed

COUNT = 50
PORTS = b"\x9c\x40\x00\x07"


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def datagrams(count: int, size: int, version: int = 4) -> list[bytes]:
    """Datagrams of `size` bytes, IP header included, for port 7 of the server."""
    if version == 4:
        body = PORTS + (size - 20).to_bytes(2) + bytes(size - 26)
        return [ipv4("10.1.0.2", "10.2.0.2", 17, body) for _ in range(count)]
    body = PORTS + (size - 40).to_bytes(2) + bytes(size - 46)
    return [ipv6("fd00:1::2", "fd00:2::2", 17, body) for _ in range(count)]


@pytest.mark.parametrize("version", [4, 6])
def test_rule_counters(net: Routed, version: int) -> None:
    """Packets and bytes of the rule that decided, and of no other."""
    control.load_rules(
        SENTINEL_RULE,
        # Devices that are new report their multicast groups, and connections of tests before may
        # still come to their end: not what is counted here.
        "allow proto { icmpv6, tcp }",
        "allow proto udp dport 7 hook pre_routing netns host",
        # At PRE_ROUTING this one comes too late.
        "allow proto udp dport 1-100 hook pre_routing,forward netns host",
        "deny proto udp dport 7 hook forward",
        "default allow hook post_routing netns host",
        "default allow hook local_in netns host",
    )
    assert all(net.forwarded(*datagrams(COUNT, 128, version)))
    counters = control.counters()
    assert [(c.number, c.packets, c.bytes) for c in counters[2:5]] == [
        ("3", COUNT, COUNT * 128),
        ("4", COUNT, COUNT * 128),
        ("5", 0, 0),
    ]
    assert [c.number for c in counters[5:]] == ["default"] * 3
    post_routing, local_in, implicit = counters[5:]
    assert (post_routing.packets, post_routing.bytes) == (COUNT, COUNT * 128)
    assert local_in.packets == 0
    assert implicit.text == "default allow"


def test_adding_keeps_counters_replacing_does_not(net: Routed) -> None:
    """`>>` goes on counting, `>` begins anew."""
    control.load_rules(
        SENTINEL_RULE, "allow dport 7 hook forward netns host", "default allow"
    )
    net.forwarded(*datagrams(COUNT, 100))
    before = control.counters()
    assert (before[1].packets, before[1].bytes) == (COUNT, COUNT * 100)
    control.load_rules("deny proto tcp", "default allow netns 1", append=True)
    net.forwarded(*datagrams(COUNT, 100))
    after = control.counters()
    assert (after[1].packets, after[1].bytes) == (2 * COUNT, 2 * COUNT * 100)
    assert after[2].text == "deny proto tcp"
    assert after[2].packets == 0
    assert after[3].packets > before[2].packets
    control.load_rules(*control.rules())
    assert [counter.packets for counter in control.counters()[:3]] == [0, 0, 0]


def test_counters_while_swapping(net: Routed) -> None:
    """Additions under traffic lose no count: each packet is counted by one table."""
    control.load_rules(SENTINEL_RULE, "allow dport 7 hook forward netns host")
    for number in range(20):
        net.inject(*datagrams(10, 100))
        control.load_rules(f"deny from 203.0.113.{number}", append=True)
    net.forwarded(*datagrams(1, 100))
    counter = control.counters()[1]
    assert (counter.packets, counter.bytes) == (201, 20100)


# For each hook: a way to have COUNT packets dropped there, and nowhere else.
@pytest.mark.parametrize("hook", control.HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_drops(net: Routed, hook: str, version: int) -> None:
    """`dropped` of the hook that dropped, and only that one's."""
    control.load_rules(SENTINEL_RULE, f"deny proto udp dport 7 hook {hook} netns host")
    before = Status.read()
    client, host = (
        ("10.1.0.2", "10.1.0.1") if version == 4 else ("fd00:1::2", "fd00:1::1")
    )
    make = ipv4 if version == 4 else ipv6
    if hook == "local_in":
        packets = [
            make(client, host, 17, PORTS + bytes([0, 8, 0, 0])) for _ in range(COUNT)
        ]
        assert net.accepted(*packets) == 0
    elif hook == "local_out":
        assert not any(net.sends(HOST, client) for _ in range(COUNT))
    else:
        assert not any(net.forwarded(*datagrams(COUNT, 128, version)))
    after = Status.read()
    for name in control.HOOKS:
        change = after.hooks[name] - before.hooks[name]
        assert change.dropped == (COUNT if name == hook else 0), name
        assert change.unparsed == 0
    assert (after.hooks[hook] - before.hooks[hook]).seen >= COUNT


def test_seen_is_what_netfilter_sees(net: Routed) -> None:
    """Seen minus dropped is what nft counts right behind ctrfw, in all namespaces together."""
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 8 hook forward")
    with nft.Witness(HOST, net.client, net.server) as witness:
        before = Status.read()
        net.forwarded(*datagrams(COUNT, 128))
        net.forwarded(*datagrams(COUNT, 128, 6))
        net.forwarded(
            *[
                packet.replace(PORTS, b"\x9c\x40\x00\x08")
                for packet in datagrams(COUNT, 90)
            ]
        )
        for _ in range(COUNT):
            net.sends(HOST, "10.1.0.2")
            net.sends(net.client, "fd00:1::1")
        assert witness.differences() == {}
    # Each of the three calls had a sentinel.
    forward = Status.read().hooks["forward"] - before.hooks["forward"]
    assert (forward.seen - 3, forward.dropped) == (3 * COUNT, COUNT)


def test_memory() -> None:
    """Memory grows with the table, in proportion, and is given back."""
    empty = Status.read().memory
    control.load_rules(*(f"deny from 192.0.2.{i % 256} dport {i}" for i in range(1000)))
    thousand = Status.read().memory
    control.load_rules(*(f"deny from 192.0.2.{i % 256} dport {i}" for i in range(4000)))
    four_thousand = Status.read().memory
    assert empty < 4096
    assert thousand > 1000 * 20, "a rule's head and its counter alone take more"
    assert 2 * thousand < four_thousand < 10 * thousand
    control.load_rules()
    assert Status.read().memory == empty


def test_namespaces_are_counted() -> None:
    """`ip netns add` and `del`, and namespaces without a name."""

    def count() -> int:
        return Status.read().namespaces

    # Those of the tests before go a little later than they are let go.
    start = until(lambda: count() == alive() and count(), "none goes any more")
    HOST.ip("netns add one", "netns add two")
    assert count() == start + 2
    third = Namespace.create_bare("three")
    assert count() == start + 3
    HOST.ip("netns del one")
    until(lambda: count() == start + 2, "the deleted namespace is gone")
    third.delete()
    HOST.ip("netns del two")
    until(lambda: count() == start, "all are gone")
    # And a module that comes later counts the same.
    module.unload()
    module.load()
    assert count() == start


def test_fresh_status() -> None:
    """What the status says right after insmod."""
    module.unload()
    module.load()
    status = Status.read()
    assert (status.mode, status.generation, status.rules) == ("enforce", 0, 0)
    assert (status.trace, status.printed, status.left_out) == (0, 0, 0)
    assert (status.dropped, status.unparsed, status.last_error) == (0, 0, "none")
    assert control.TRACE.read_text() == "off\n"
    control.load_rules("allow")
    status = Status.read()
    assert (status.generation, status.rules) == (1, 1)
