# SPDX-License-Identifier: GPL-2.0
"""Counters that begin anew: what was read before and what comes after is all that there was.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import errno
import os
import time
from collections.abc import Callable, Iterator

import pytest

from lib import control
from lib.background import Stop, running
from lib.control import COUNTERS, SENTINEL_RULE, Counter, Status
from lib.netns import HOST, put
from lib.packets import datagram, ether
from lib.poll import until
from lib.topology import Routed

PACKET = datagram("10.1.0.2", "10.2.0.2", 7, b"x")
TABLE = [
    SENTINEL_RULE,
    "audit dport 7 hook pre_routing netns host",
    "allow proto udp dport 7 hook forward",
    "default allow hook post_routing netns host",
]


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def packets() -> list[int]:
    """How many packets each statement has counted."""
    return [counter.packets for counter in control.counters()]


def says(counters: list[Counter], text: str) -> int:
    """The packets of one statement."""
    return next(counter.packets for counter in counters if counter.text == text)


def test_all_begin_anew(net: Routed) -> None:
    """Rules, rules that audit, defaults, the failsafe, and what nobody decides; the table stays."""
    # Reports of multicast groups go by now and then.
    control.load_rules("failsafe { udp 9 }", *TABLE, "allow family ipv6 priority 1")
    assert net.forwarded(PACKET) == [True]
    with HOST.udp("10.1.0.1", 9) as sink:
        net.inject(datagram("10.1.0.2", "10.1.0.1", 9, b"end"))
        sink.recv(10)
    assert min(packets()[:1] + packets()[2:]) > 0
    before, rules = Status.read(), control.rules()
    control.write(COUNTERS, "reset\n")
    counters = control.counters()
    assert [(c.packets, c.bytes) for c in counters[:1] + counters[2:]] == [(0, 0)] * 6
    after = Status.read()
    assert after.generation == before.generation
    assert after.seen >= before.seen > 0
    assert (control.rules(), after.last_error) == (rules, "none")
    assert net.forwarded(PACKET) == [True]
    counters = control.counters()
    assert says(counters, TABLE[1]) == says(counters, TABLE[2]) == 1
    # `>>` keeps what has been counted since.
    control.load_rules("insert 2 deny dport 1", "delete 3", append=True)
    counters = control.counters()
    assert says(counters, TABLE[1]) == says(counters, TABLE[2]) == 1
    assert says(counters, "deny dport 1") == 0
    assert net.forwarded(PACKET) == [True]
    assert says(control.reset(), TABLE[2]) == 2
    assert says(control.counters(), TABLE[2]) == 0


def test_exactly_what_was_read(net: Routed) -> None:
    """What comes between reading and resetting is kept."""
    control.load_rules(*TABLE)
    assert net.forwarded(PACKET) == [True]
    fd = os.open(COUNTERS, os.O_RDWR)
    assert net.forwarded(PACKET, PACKET) == [True, True]
    lines = os.read(fd, 4096).decode().splitlines()
    assert says([Counter.parse(line) for line in lines], TABLE[2]) == 1
    os.write(fd, b"reset\n")
    assert says(control.counters(), TABLE[2]) == 2
    os.close(fd)
    assert says(control.counters(), TABLE[2]) == 2
    # Who only writes means what there is by then.
    fd = os.open(COUNTERS, os.O_WRONLY)
    assert net.forwarded(PACKET) == [True]
    for piece in (b"res", b"et"):
        os.write(fd, piece)
    assert says(control.counters(), TABLE[2]) == 3
    os.write(fd, b"\n")
    assert says(control.counters(), TABLE[2]) == 0
    assert net.forwarded(PACKET) == [True]
    os.close(fd)
    assert says(control.counters(), TABLE[2]) == 1
    # A last line without its newline counts on close.
    control.write(COUNTERS, "reset")
    assert says(control.counters(), TABLE[2]) == 0


def test_somebody_else_was_faster(net: Routed) -> None:
    """Whoever read the counters before another reset or another table resets nothing."""
    for other in (
        lambda: control.reset(),
        lambda: control.write(COUNTERS, "reset\n"),
        lambda: control.load_rules(*TABLE),
        lambda: control.load_rules("allow", append=True),
    ):
        control.load_rules(*TABLE)
        assert net.forwarded(PACKET) == [True]
        fd = os.open(COUNTERS, os.O_RDWR)
        other()
        assert net.forwarded(PACKET) == [True]
        kept = max(packets())
        with pytest.raises(OSError) as caught:
            os.write(fd, b"reset\n")
        os.close(fd)
        assert caught.value.errno == errno.EBUSY
        assert Status.read().last_error == (
            "counters somebody else reset the counters or changed the table since they were read"
        )
        assert max(packets()) >= kept > 0
        control.reset()
        assert Status.read().last_error == "none"
    # Twice by one reading
    fd = os.open(COUNTERS, os.O_RDWR)
    os.write(fd, b"reset\n")
    with pytest.raises(OSError):
        os.write(fd, b"reset\n")
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "error"),
    {
        "clear": 'line 1 column 1: got "clear", expected reset',
        "reset now": 'line 1 column 7: got "now", expected nothing more on this line',
        "reset\nrest": 'line 2 column 1: got "rest", expected reset',
        "deny": 'line 1 column 1: got "deny", expected reset',
    }.items(),
)
def test_refused(net: Routed, text: str, error: str) -> None:
    """Anything else changes nothing."""
    control.load_rules(*TABLE)
    assert net.forwarded(PACKET) == [True]
    kept = max(packets())
    with pytest.raises(OSError) as caught:
        control.write(COUNTERS, f"{text}\n")
    assert caught.value.errno == errno.EINVAL
    assert Status.read().last_error == f"counters {error}"
    assert max(packets()) >= kept > 0


def test_nothing_to_reset() -> None:
    """Without a table, and by opening alone."""
    control.load_rules()
    control.write(COUNTERS, "reset\n")
    control.write(COUNTERS, "")
    os.close(os.open(COUNTERS, os.O_RDWR))
    assert Status.read().last_error == "none"


def test_large_table(tell: Callable[[str], None]) -> None:
    """As many rules as there may be; resets pile up no memory."""
    count = 100_000
    control.load_rules(*["deny from 192.0.2.1"] * count)
    before, seconds, memory = Status.read().memory, [], set()
    for _ in range(5):
        start = time.monotonic()
        assert len(control.reset()) == count + 1
        seconds.append(time.monotonic() - start)
        memory.add(Status.read().memory)
    tell(f"counters of {count} rules read and reset: {max(seconds):.3f} s at most")
    assert len(memory) == 1 and memory.pop() - before < 32 * count


def test_sums_under_traffic(net: Routed, tell: Callable[[str], None]) -> None:
    """Resets without end, and edits among them: their sums are what the hooks have seen."""

    def storm(stop: Stop) -> int:
        frame = ether(Routed.HOST_MAC, Routed.CLIENT_MAC, PACKET)
        with net.client.packet("eth0", receive=False) as wire:
            while not stop:
                stop.progress += put(wire, frame)
        return stop.progress

    def quiet() -> tuple[int, list[Counter]] | None:
        """What the hooks have seen and what was counted, at a moment when nothing goes by."""
        seen = Status.read().seen
        time.sleep(0.1)
        counters = control.counters()
        return (seen, counters) if Status.read().seen == seen else None

    rule = "allow proto udp dport 7 hook forward"
    control.load_rules(SENTINEL_RULE, rule)
    before, counters = until(quiet, "silence")
    total, resets = -sum(counter.packets for counter in counters), 0
    of_rule = [0, 0]

    def add(counters: list[Counter]) -> None:
        nonlocal total
        total += sum(counter.packets for counter in counters)
        (mine,) = (counter for counter in counters if counter.text == rule)
        of_rule[0] += mine.packets
        of_rule[1] += mine.bytes

    with running(storm) as sender:
        until(lambda: sender.stop_flag.progress > 100, "traffic")
        while resets < 300 or of_rule[0] <= 1000:
            if resets % 10 == 0:
                control.load_rules("insert 1 deny dport 1", append=True)
                control.load_rules("delete 1", append=True)
            add(control.reset())
            resets += 1
        sender.finish()

    seen, counters = until(quiet, "the end of the traffic")
    add(counters)
    tell(f"{of_rule[0]} packets in {resets} resets")
    assert total == seen - before
    assert of_rule[1] == of_rule[0] * len(PACKET)
