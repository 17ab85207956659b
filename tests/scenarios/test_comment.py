# SPDX-License-Identifier: GPL-2.0
"""Comments of rules: kept, listed with the rules and their counters, and of no effect."""

import errno

import pytest

from lib import control
from lib.control import Status
from lib.netns import HOST

TABLE = [
    'deny proto udp dport 7 hook local_out comment "echo # is old"',
    'allow from 192.0.2.1 comment "Grüße, \N{SPOUTING WHALE}"',
    "allow from 192.0.2.2",
    "default allow",
]


def test_listed() -> None:
    """In the rules file and in the counters file, byte by byte."""
    control.load_rules(*TABLE)
    assert control.rules() == TABLE
    assert [counter.text for counter in control.counters()[:3]] == TABLE[:3]
    control.load_rules('deny from 192.0.2.3 comment "added"', append=True)
    assert control.rules() == [
        *TABLE[:3],
        'deny from 192.0.2.3 comment "added"',
        TABLE[3],
    ]
    control.write(control.RULES, control.RULES.read_bytes())
    assert control.rules()[3] == 'deny from 192.0.2.3 comment "added"'


def test_of_no_effect() -> None:
    """The rule means the same packets."""
    HOST.ip("link set lo up")
    control.load_rules(*TABLE)
    with HOST.udp("127.0.0.1") as sock:
        with pytest.raises(PermissionError):
            sock.sendto(b"x", ("127.0.0.1", 7))
        sock.sendto(b"x", ("127.0.0.1", 8))


@pytest.mark.parametrize("length", [128, 129])
def test_longest(length: int) -> None:
    """128 bytes, not more, though they come one by one."""
    text = f'deny comment "{"x" * length}"'
    if length == 128:
        control.load_rules(text)
        assert control.rules() == [text]
        return
    with pytest.raises(OSError) as caught:
        control.load_rules(text)
    assert caught.value.errno == errno.EINVAL
    assert Status.read().last_error.startswith("rules line 1 column 14: ")
