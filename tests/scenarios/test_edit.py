# SPDX-License-Identifier: GPL-2.0
"""Edits of the table in force: by number and by comment, many in one transaction.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lib import control, kmemleak
from lib.control import RULES, SENTINEL_RULE, Status
from lib.packets import ipv4
from lib.topology import Routed

PACKET = ipv4("10.1.0.2", "10.2.0.2", 17, b"\x9c\x40\x00\x07\x00\x08\x00\x00")
TABLE = [
    SENTINEL_RULE,
    'deny proto udp dport 7 hook forward comment "echo"',
    "allow proto udp hook pre_routing netns host",
]


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def edit(*lines: str) -> None:
    """`>>`"""
    control.load_rules(*lines, append=True)


def refused(*lines: str, append: bool = True) -> str:
    """What is said of lines that must be refused."""
    with pytest.raises(OSError) as caught:
        control.load_rules(*lines, append=append)
    assert caught.value.errno == errno.EINVAL
    return Status.read().last_error


def test_edits_act(net: Routed) -> None:
    """Each of them on real packets, and the other rules keep their counts."""
    control.load_rules(*TABLE)
    assert net.forwarded(PACKET) == [False]
    assert [c.packets for c in control.counters()[1:3]] == [1, 1]
    edit("insert 2 allow dport 7 hook forward")
    assert net.forwarded(PACKET) == [True]
    assert [c.packets for c in control.counters()[1:4]] == [1, 1, 2]
    edit("delete 2")
    assert control.rules() == TABLE
    assert net.forwarded(PACKET) == [False]
    assert [c.packets for c in control.counters()[1:3]] == [2, 3]
    edit('replace comment "echo" deny dport 8 comment "other"')
    assert net.forwarded(PACKET) == [True]
    assert [c.packets for c in control.counters()[1:3]] == [0, 4]
    edit('delete comment "other"', "add deny dport 7 hook post_routing")
    assert net.forwarded(PACKET) == [False]
    assert control.rules() == [TABLE[0], TABLE[2], "deny dport 7 hook post_routing"]
    assert [c.packets for c in control.counters()[1:3]] == [5, 1]


def test_all_or_nothing() -> None:
    """One wrong edit, and none takes effect."""
    control.load_rules(*TABLE)
    error = refused("delete 1", "delete 1", "delete 1", "delete 1")
    assert error.startswith('rules line 4 column 8: got "1", expected the number')
    assert control.rules() == TABLE
    assert "no other rule has" in refused(
        'allow comment "echo"', "insert 1 allow", 'delete comment "echo"'
    )
    assert control.rules() == TABLE


def test_not_of_a_new_table() -> None:
    """`>` would replace all by an edit of nothing: refused, the table stays."""
    control.load_rules(*TABLE)
    for line in ("delete 1", "insert 1 allow", "replace 1 allow"):
        assert ">>" in refused(line, append=False)
        assert control.rules() == TABLE
    control.load_rules("add allow")
    assert control.rules() == ["allow"]


def test_somebody_else_was_faster() -> None:
    """Numbers mean the table as it was when the file was opened: if it changed, nothing happens."""
    control.load_rules(*TABLE)
    fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"delete 1\n")
    edit("insert 1 deny from 192.0.2.1")
    os.close(fd)
    assert control.rules() == ["deny from 192.0.2.1", *TABLE]
    assert Status.read().last_error.endswith(
        "somebody else changed the table meanwhile"
    )
    # What only adds does not mind.
    fd = os.open(RULES, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"allow from 192.0.2.2\n")
    edit("delete 1")
    os.close(fd)
    assert control.rules() == [*TABLE, "allow from 192.0.2.2"]


def test_another_set(net: Routed) -> None:
    """A set's members change for real packets, and no rule loses its count."""
    table = ["set from { 10.1.0.2 }", SENTINEL_RULE]
    table += ["deny from @from dport 7 hook forward", "allow from @from", "allow"]
    control.load_rules(*table)
    assert net.forwarded(PACKET) == [False]
    for members, passes in (("10.1.0.3", True), ("10.1.0.0/24", False), ("", True)):
        edit(f"replace set from {{ {members} }}")
        assert net.forwarded(PACKET) == [passes], members
    assert control.rules() == ["set from { }", *table[1:]]
    assert [c.packets for c in control.counters()[1:3]][0] == 2
    assert "as a rule uses the set for addresses" in refused(
        "replace set from {", "\t7,", "}"
    )
    assert Status.read().last_error.startswith("rules line 2 column 2: ")
    assert "a set of the table" in refused("replace set nobody { }")
    assert ">>" in refused("set a { }", "replace set a { }", append=False)
    assert control.rules() == ["set from { }", *table[1:]]


def test_many_edits(net: Routed, tell: Callable[[str], None]) -> None:
    """They leave nothing behind: no memory, no counter, and no count that is another rule's."""
    control.load_rules(*TABLE, *[f"deny from 203.0.113.{n}" for n in range(200)])
    assert net.forwarded(PACKET) == [False]
    memory = []
    start = time.monotonic()
    # Each takes a debugging kernel many times as long.
    edits = 1_000 if kmemleak.available() else 10_000
    for number in range(edits):
        place = 4 + number * 7 % 200
        edit(f"replace {place} deny from 198.51.100.{number % 250}")
        if number % (edits // 10) == 0:
            memory.append(Status.read().memory)
    tell(f"{edits} edits of a small table: {time.monotonic() - start:.1f} s")
    # Which of the rules have come lately has a say in it.
    assert max(memory) <= memory[0] * 1.5, memory
    assert [c.packets for c in control.counters()[1:203]] == [1, 1] + [0] * 200


def test_new_rules_begin_at_zero(net: Routed) -> None:
    """Also those that are counted where others were."""
    control.load_rules(SENTINEL_RULE, "allow dport 7 hook forward")
    for number in range(1, 20):
        assert net.forwarded(*[PACKET] * number) == [True] * number
        assert control.counters()[1].packets == number
        # One after another, so that what one leaves free is there for the next.
        edit("delete 2")
        edit("add deny from 203.0.113.1")
        edit("add allow dport 7 hook forward")
        assert [c.packets for c in control.counters()[1:3]] == [0, 0]
        edit("delete 2")
    edit("default allow hook forward netns host")
    edit("replace 2 allow dport 8")
    assert net.forwarded(PACKET) == [True]
    assert [c.packets for c in control.counters()[1:3]] == [0, 1]
    edit('default allow hook forward netns host log "same"')
    assert control.counters()[2].packets == 1
    edit("default deny hook forward netns host")
    assert control.counters()[2].packets == 0


def test_a_reader_sees_one_time(net: Routed) -> None:
    """Whoever reads the counters sees them as they were when he opened the file, come what may."""
    control.load_rules(SENTINEL_RULE, "allow dport 7 hook forward", "deny dport 6")
    assert net.forwarded(PACKET, PACKET) == [True, True]
    with control.COUNTERS.open() as file:
        edit("delete 2")
        edit("insert 1 deny from 203.0.113.1", "allow dport 7 hook forward")
        assert net.forwarded(PACKET) == [True]
        control.load_rules("allow")
        lines = [control.Counter.parse(line) for line in file.read().splitlines()]
    assert [(c.packets, c.text) for c in lines[1:3]] == [
        (2, "allow dport 7 hook forward"),
        (0, "deny dport 6"),
    ]


def test_readers_while_rules_come_and_go(net: Routed) -> None:
    """Nobody is shown a count that is another rule's."""
    silent = [f"deny from 203.0.113.{n}" for n in range(50)]
    control.load_rules(SENTINEL_RULE, *silent)
    done = threading.Event()
    wrong: list[str] = []
    readings = [0] * 2

    def read(who: int) -> None:
        while not done.is_set():
            found = [c for c in control.counters() if c.text.startswith("deny")]
            wrong.extend(c.text for c in found if c.packets)
            if not 49 <= len(found) <= 51:
                wrong.append(f"{len(found)} rules")
            readings[who] += 1

    readers = [threading.Thread(target=read, args=(who,)) for who in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(100):
            edit("insert 2 allow dport 7 hook forward")
            assert net.forwarded(PACKET) == [True]
            edit("delete 2")
            edit(f"replace {number % 50 + 2} deny from 203.0.113.{number % 50}")
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert all(readings)


def test_large_table(tell: Callable[[str], None]) -> None:
    """One edit among as many rules as there may be, which leaves as many or fewer."""
    count = 100_000
    rules = [f"deny from 10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count)]
    control.load_rules(*rules)
    memory = Status.read().memory
    spent = []
    for number in (1, count // 2, count) * 3:
        start = time.monotonic()
        edit(f"replace {number} allow dport 7")
        spent.append(time.monotonic() - start)
    middle = sorted(spent)[len(spent) // 2]
    tell(f"one edit among {count} rules: {1000 * middle:.2f} ms")
    start = time.monotonic()
    edit(*["delete 2", "insert 2 allow dport 8"] * 50)
    milliseconds = 1000 * (time.monotonic() - start)
    tell(f"100 edits among {count} rules in one: {milliseconds:.2f} ms")
    listed = control.rules()
    assert len(listed) == count
    assert listed[:3] == ["allow dport 7", "allow dport 8", rules[2]]
    assert Status.read().memory < 1.1 * memory
    with pytest.raises(OSError) as caught:
        edit("insert 1 allow")
    assert caught.value.errno == errno.ENOSPC
