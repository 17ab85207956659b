# SPDX-License-Identifier: GPL-2.0
"""Verdicts that are remembered: nobody can tell, but by the time that it takes.

    a namespace that sends to itself on lo: LOCAL_OUT, POST_ROUTING, PRE_ROUTING, LOCAL_IN
    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

All of it with the cache and without: exact counters for packets that come again and again, each
verdict that of the table in force, of the device's present name, and of the namespace that the
packet is in; and what does more than pass or drop does so each time.
"""

import os
import socket
from collections.abc import Iterator

import pytest

from lib import control, kmemleak, module
from lib.control import SENTINEL_RULE, Status
from lib.netns import HOST, Namespace, created
from lib.packets import datagram
from lib.topology import Routed, quiet

# As many as take some seconds, under emulation and with checkers as well.
MANY = 3_000 if module.TCG or kmemleak.available() else 50_000
AGAIN = 20

both = pytest.mark.parametrize(
    "cached",
    [
        pytest.param(True, id="cache"),
        pytest.param(False, id="no-cache", marks=pytest.mark.parameters(flow_cache=0)),
    ],
)
CLIENT = "10.1.0.2"


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


@pytest.fixture
def alone() -> Iterator[Namespace]:
    """A namespace in which nothing goes by but what the test sends."""
    with created("alone") as (netns,):
        quiet(netns)
        yield netns


def sends(sock: socket.socket, count: int = AGAIN, size: int = 72) -> set[bool]:
    """Whether send(2) took the datagrams, which are all the same: what came of them all."""
    outcomes = set()
    for _ in range(count):
        try:
            sock.send(bytes(size))
            outcomes.add(True)
        except PermissionError:
            outcomes.add(False)
    return outcomes


def to(netns: Namespace, address: str, port: int = 7) -> socket.socket:
    """A socket that sends there, always from the same port."""
    sock = netns.udp("::" if ":" in address else "0.0.0.0", 4000)
    sock.connect((address, port))
    return sock


def test_memory_is_told() -> None:
    """The status file tells how much all CPUs' caches take: not much more than was asked for."""
    cpus = os.cpu_count() or 1
    taken = Status.read().flow_cache
    assert 4096 * 128 * cpus <= taken
    module.ensure(flow_cache=1000)
    assert Status.read().flow_cache * 4 == taken
    module.ensure(flow_cache=0)
    assert Status.read().flow_cache == 0


@both
def test_many(cached: bool, alone: Namespace) -> None:
    """Packets and bytes of a flow are counted exactly, by each statement that decides."""
    assert (Status.read().flow_cache != 0) == cached
    here = f"netns {alone.inode}"
    control.load_rules(
        f"allow dport 7 hook local_out {here}",
        f"allow dport 8 hook local_out {here}",
        f"deny dport 8 hook local_in,pre_routing {here}",
        f"default allow hook post_routing,pre_routing {here}",
    )
    before = Status.read()
    with alone.udp("127.0.0.1", 7), to(alone, "127.0.0.1") as sock:
        assert sends(sock, MANY) == {True}
    with to(alone, "127.0.0.1", 8) as sock:
        assert sends(sock, MANY, 172) == {True}
    counted = [(c.packets, c.bytes) for c in control.counters()]
    assert counted[:4] == [
        (MANY, MANY * 100),
        (MANY, MANY * 200),
        (MANY, MANY * 200),
        (3 * MANY, MANY * 100 * 2 + MANY * 200),
    ]
    after = Status.read()
    change = {hook: after.hooks[hook] - before.hooks[hook] for hook in control.HOOKS}
    # The socket of port 7 takes no more than there is room for, so no ICMP error is sent.
    assert change["pre_routing"].dropped == MANY
    assert after.dropped - before.dropped == MANY
    assert change["local_out"].seen >= 2 * MANY
    assert after.unparsed == before.unparsed


def test_nothing_to_say(alone: Namespace) -> None:
    """Where no statement is for a hook, its packets are counted all the same."""
    control.load_rules("deny netns 1", "deny hook forward family ipv6")
    before, default = Status.read(), control.counters()[-1]
    with alone.udp("127.0.0.1", 7), to(alone, "127.0.0.1") as sock:
        assert sends(sock, 1000, 972) == {True}
    after, counter = Status.read(), control.counters()[-1]
    assert default.packets <= counter.packets - 4000 < default.packets + 100
    assert default.bytes <= counter.bytes - 4_000_000 < default.bytes + 100_000
    assert after.hooks["local_in"].seen - before.hooks["local_in"].seen >= 1000


@both
def test_swaps(cached: bool, alone: Namespace) -> None:
    """From when a write is over, all packets of a flow have the new verdict, the first one as well."""
    tables: list[tuple[bool, bool, list[str]]] = [
        (False, False, ["allow dport 9", "deny dport 7"]),
        (True, False, ["allow dport 7", "deny dport 7"]),
        (False, False, ["default deny"]),
        (True, True, ["allow dport 7"]),
        (False, True, ["replace 1 deny dport 7"]),
        (True, True, ["delete 1", "default allow"]),
        (False, True, ["set a { 127.0.0.1 }", "deny to @a"]),
        (True, True, ["replace set a { 127.0.0.2 }"]),
        (True, False, []),
        (False, False, ["deny hook local_out"]),
        (True, True, ["mode audit"]),
        (False, True, ["mode enforce"]),
        (True, True, ["failsafe { udp 4000 }", "delete 1"]),
    ]
    with (
        to(alone, "127.0.0.1") as sock,
        alone.udp("127.0.0.1", 7),
    ):
        for _ in range(5):
            for passes, append, lines in tables:
                control.load_rules(*lines, append=append)
                assert sends(sock) == {passes}, lines


@both
def test_reset_and_edit(cached: bool, alone: Namespace) -> None:
    """Who resets counters loses none, and a rule that takes another one's slot begins at nothing."""
    rule = f"allow dport 7 hook local_out netns {alone.inode}"
    control.load_rules(rule)
    with alone.udp("127.0.0.1", 7), to(alone, "127.0.0.1") as sock:
        sends(sock)
        assert control.reset()[0].packets == AGAIN
        sends(sock)
        assert control.counters()[0].packets == AGAIN
        control.load_rules("delete 1", append=True)
        sends(sock)
        control.load_rules(rule, append=True)
        assert control.counters()[0].packets == 0
        sends(sock)
        assert control.counters()[0].packets == AGAIN


@both
@pytest.mark.parametrize("key", ["out", "in"])
def test_renamed_device(cached: bool, key: str, net: Routed) -> None:
    """A device that has got another name is judged by that, at once."""
    hook = "forward"
    packets = [datagram(CLIENT, "10.2.0.2", 7) for _ in range(AGAIN)]
    old, new = ("srv0", "srv1") if key == "out" else ("cl0", "cl1")
    control.load_rules(SENTINEL_RULE, f"deny {key} {new} hook {hook}")
    try:
        for _ in range(3):
            assert net.forwarded(*packets) == [True] * AGAIN
            HOST.ip(f"link set {old} name {new}")
            assert net.forwarded(*packets) == [False] * AGAIN
            HOST.ip(f"link set {new} name {old}")
    finally:
        if new in HOST.links():
            HOST.ip(f"link set {new} name {old}")


@both
def test_mark(cached: bool, alone: Namespace) -> None:
    """Packets of a flow that differ by their mark are told apart."""
    control.load_rules("deny mark 7 hook local_out")
    with to(alone, "127.0.0.1") as sock, alone.udp("127.0.0.1", 7):
        for mark in (0, 7, 8, 7, 0) * 3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            assert sends(sock, 5) == {mark != 7}, mark


@both
def test_namespaces_that_come_and_go(cached: bool) -> None:
    """The same packet in namespace after namespace, some of which have the inode of one before."""
    with created("first") as (first,):
        denied = first.inode
        control.load_rules(f"deny netns {denied} hook local_out")
        with to(first, "127.0.0.1") as sock:
            assert sends(sock) == {False}
    for _ in range(30):
        with created("next") as (netns,), to(netns, "127.0.0.1") as sock:
            with netns.udp("127.0.0.1", 7):
                assert sends(sock, 5) == {netns.inode != denied}, netns


@both
def test_what_does_more_does_it_each_time(cached: bool, alone: Namespace) -> None:
    """Audits, mode audit, logs and refusals with an answer: each packet has its own."""
    here = f"dport 7 hook local_out netns {alone.inode}"
    with to(alone, "127.0.0.1") as sock, alone.udp("127.0.0.1", 7):
        for passes, would_drop, dropped, lines in [
            (True, AGAIN, 0, [f"audit {here}"]),
            (True, AGAIN, 0, ["mode audit", f"deny {here}"]),
            (False, AGAIN, AGAIN, [f"audit {here}", f"deny {here}"]),
            (False, 0, AGAIN, [f"reject {here}"]),
            (False, 0, AGAIN, [f"deny {here} log"]),
            (False, 0, AGAIN, [f"deny {here}"]),
        ]:
            control.load_rules(*lines)
            before = Status.read()
            assert sends(sock) == {passes}, lines
            after = Status.read()
            change = after.hooks["local_out"] - before.hooks["local_out"]
            assert (change.would_drop, change.dropped) == (would_drop, dropped), lines
            counted = [c.packets for c in control.counters() if "dport" in c.text]
            assert counted == [AGAIN] * len(counted), lines
        # One line, and the others are in the count of lines held back.
        control.load_rules(f"deny {here} log every 1ms")
        before = Status.read()
        sends(sock, 3)
        assert Status.read().logged > before.logged


@both
def test_trace_of_a_flow(cached: bool, alone: Namespace) -> None:
    """A trace that begins later shows each packet, and one that has ended leaves the verdict."""
    control.load_rules(f"deny dport 7 hook local_out netns {alone.inode}")
    with to(alone, "127.0.0.1") as sock:
        assert sends(sock) == {False}
        before = Status.read()
        control.trace("dport 7 hook local_out")
        assert sends(sock) == {False}
        assert Status.read().printed - before.printed == AGAIN
        control.trace()
        assert sends(sock) == {False}
    assert control.counters()[0].packets == 3 * AGAIN


@both
def test_state(cached: bool, alone: Namespace) -> None:
    """A flow whose state changes has the verdicts of its state."""
    here = f"netns {alone.inode}"
    control.load_rules(
        f"deny state established hook local_in {here} dport 7",
        f"allow state new hook local_in {here} dport 7",
    )
    with alone.udp("127.0.0.1", 7) as server, to(alone, "127.0.0.1") as client:
        sends(client)
        for _ in range(AGAIN):
            assert server.recv(100)
        server.sendto(b"answer", client.getsockname())
        assert client.recv(100) == b"answer"
        sends(client)
        counted = [c.packets for c in control.counters()[:2]]
        assert counted == [AGAIN, AGAIN]
