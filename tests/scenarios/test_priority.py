# SPDX-License-Identifier: GPL-2.0
"""Priorities of rules: the order in which they are judged is that in which they are listed.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import time
from collections.abc import Callable, Iterator

import pytest

from lib import control
from lib.control import SENTINEL_RULE
from lib.packets import ipv4
from lib.topology import Routed
from lib.trace import Tracer

PACKET = ipv4("10.1.0.2", "10.2.0.2", 17, b"\x9c\x40\x00\x07\x00\x08\x00\x00")
FIRST = f"{SENTINEL_RULE} priority 32767"


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


# Rules in the order in which they are written -> whether the packet passes
CASES = {
    ("deny dport 7", "allow dport 7"): False,
    ("deny dport 7", "allow dport 7 priority 1"): True,
    ("deny dport 7 priority 1", "allow dport 7 priority 1"): False,
    ("allow dport 7 priority 1", "deny dport 7 priority 1"): True,
    ("allow dport 7 priority -1", "deny dport 7"): False,
    ("allow dport 7 priority -1", "deny dport 7 priority -2"): True,
    ("deny priority 256", "allow priority 257"): True,
    ("deny priority 511", "allow priority 256"): False,
    ("allow priority -32768", "deny priority -32767"): False,
}


@pytest.mark.parametrize("rules", CASES, ids=" + ".join)
def test_who_decides(net: Routed, rules: tuple[str, ...]) -> None:
    """The higher priority, of the same the first."""
    control.load_rules(*rules, FIRST)
    assert control.rules()[0] == FIRST
    assert net.forwarded(PACKET) == [CASES[rules]]


def test_numbers_are_those_of_the_listing(net: Routed, tracer: Tracer) -> None:
    """In traces and counters; and an added rule takes its place without the others' counts."""
    control.load_rules("deny dport 7 hook forward", "allow dport 7 priority -1", FIRST)
    assert net.forwarded(PACKET) == [False]
    control.trace("proto udp dport 7 netns host")
    control.load_rules("allow dport 7 hook pre_routing priority 5", append=True)
    listed = control.rules()
    assert listed == [
        FIRST,
        "allow dport 7 hook pre_routing priority 5",
        "deny dport 7 hook forward",
        "allow dport 7 priority -1",
    ]
    assert [(c.number, c.text) for c in control.counters()[:4]] == [
        (str(number), text) for number, text in enumerate(listed, 1)
    ]
    assert [c.packets for c in control.counters()[1:4]] == [0, 1, 1]
    tracer.skip()
    assert net.forwarded(PACKET) == [False]
    assert [(line.hook, line.rule) for line in tracer.lines()] == [
        ("PRE_ROUTING", "2"),
        ("FORWARD", "3"),
    ]
    assert [c.packets for c in control.counters()[1:4]] == [1, 2, 1]
    control.write(control.RULES, control.RULES.read_bytes())
    assert control.rules() == listed


def test_many(tell: Callable[[str], None]) -> None:
    """A large table in the worst order is put right."""
    count = 50_000
    start = time.monotonic()
    rules = [
        f"deny dport {n % 65536} priority {n % 65536 - 32768}" for n in range(count)
    ]
    control.load_rules(*rules)
    tell(f"{count} rules by ascending priority: {time.monotonic() - start:.2f} s")
    listed = control.rules()
    assert len(listed) == count
    assert (listed[0], listed[-1]) == (rules[-1], rules[0])
    start = time.monotonic()
    control.load_rules("allow priority 32767", append=True)
    tell(f"one more, at the front: {time.monotonic() - start:.2f} s")
    assert control.rules()[:2] == ["allow priority 32767", rules[-1]]
