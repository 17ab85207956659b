# SPDX-License-Identifier: GPL-2.0
"""Edits of the table in force: by number and by comment, many in one transaction.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import errno
import os
import time
from collections.abc import Callable, Iterator

import pytest

from lib import control
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


def test_large_table(tell: Callable[[str], None]) -> None:
    """One edit among as many rules as there may be, which leaves as many or fewer."""
    count = 100_000
    rules = [f"deny from 10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count)]
    control.load_rules(*rules)
    memory = Status.read().memory
    seconds = []
    for number in (1, count // 2, count):
        start = time.monotonic()
        edit(f"replace {number} allow dport 7")
        seconds.append(time.monotonic() - start)
    tell(f"one edit among {count} rules: {max(seconds):.3f} s at most")
    start = time.monotonic()
    edit(*["delete 2", "insert 2 allow dport 8"] * 50)
    tell(f"100 edits among {count} rules in one: {time.monotonic() - start:.3f} s")
    listed = control.rules()
    assert len(listed) == count
    assert listed[:3] == ["allow dport 7", "allow dport 8", rules[2]]
    assert Status.read().memory < 2 * memory
    with pytest.raises(OSError) as caught:
        edit("insert 1 allow")
    assert caught.value.errno == errno.ENOSPC
