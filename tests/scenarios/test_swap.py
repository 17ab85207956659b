# SPDX-License-Identifier: GPL-2.0
"""A table is replaced whole: no packet meets half of one, or none.

    client (10.1.0.2)  ---  cl0  host
      injects X and Y             PRE_ROUTING: ctrfw, then a counting nft chain
                                  a process sends X and Y: LOCAL_OUT

Four tables take turns, ten thousand times (a debugging kernel: a thousand). All of them deny X and allow Y, but each by other
means: by rules and the default allow, or by a rule and `default deny`; with the deciding rule
first, last, or in the middle of many. Rules of one with the default of another, a beginning of
one, or an empty moment would let an X through or stop a Y.

At LOCAL_OUT each packet's verdict is known at once: send(2) fails or not. At PRE_ROUTING nft
counts, right behind ctrfw, what comes through. A third process reads the table all the while.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import kmemleak, nft
from lib.background import Stop, running
from lib.control import RULES, Status
from lib.netns import HOST, put
from lib.packets import ether, ipv4
from lib.poll import until
from lib.topology import Routed

# Each takes a debugging kernel many times as long.
SWAPS = 1_000 if kmemleak.available() else 10_000
X, Y = 4001, 4002
DENY_X = f"deny proto udp dport {X}"
ALLOW_Y = f"allow proto udp dport {Y}"
FILLER = [
    f"deny from 203.0.113.{i} to 198.51.100.{i} proto tcp dport {i}" for i in range(60)
]

TABLES = [
    "".join(f"{line}\n" for line in lines)
    for lines in (
        [*FILLER[:30], DENY_X],
        [ALLOW_Y, "default deny"],
        [DENY_X, *FILLER, ALLOW_Y, "default deny"],
        [
            *FILLER[:5],
            f"deny proto udp dport {X}-{X} from 10.0.0.0/8",
            *FILLER[5:9],
            DENY_X,
        ],
    )
]

NEXT = f"""
table inet next {{
  counter x {{ }}
  counter y {{ }}
  chain prerouting {{
    type filter hook prerouting priority {nft.AFTER_CTRFW};
    udp dport {X} counter name x drop
    udp dport {Y} counter name y drop
  }}
}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network, with the counting chain in the host."""
    with Routed() as network:
        nft.load(NEXT)
        yield network
        nft.flush()


def sender() -> Callable[[Stop], dict[str, int]]:
    """Sends X and Y from the host, and counts the verdicts that were wrong."""
    address = "10.1.0.2"

    def work(stop: Stop) -> dict[str, int]:
        judged = passed = stopped = 0
        with HOST.udp("0.0.0.0") as x, HOST.udp("0.0.0.0") as y:
            x.connect((address, X))
            y.connect((address, Y))
            while not stop:
                for _ in range(100):
                    try:
                        x.send(b"x")
                        passed += 1
                    except PermissionError:
                        pass
                    try:
                        y.send(b"y")
                    except PermissionError:
                        stopped += 1
                judged += 200
                stop.progress = judged
        return {"judged": judged, "x passed": passed, "y stopped": stopped}

    return work


def injector(net: Routed) -> Callable[[Stop], dict[str, int]]:
    """Puts X and Y on the client's wire, and counts them."""

    def work(stop: Stop) -> dict[str, int]:
        frames = [
            ether(
                net.HOST_MAC,
                net.CLIENT_MAC,
                ipv4(
                    "10.1.0.2",
                    "10.1.0.1",
                    17,
                    b"\x9c\x40" + port.to_bytes(2) + bytes([0, 8, 0, 0]),
                ),
            )
            for port in (X, Y)
        ]
        x = y = 0
        with net.client.packet("eth0", receive=False) as wire:
            while not stop:
                for _ in range(100):
                    x += put(wire, frames[0])
                    y += put(wire, frames[1])
                stop.progress = min(x, y)
        return {"x": x, "y": y}

    return work


def reader(stop: Stop) -> dict[str, int]:
    """Reads the table again and again: it must be one of the four."""
    reads = 0
    while not stop:
        text = RULES.read_text()
        assert text in CANONICAL, text
        reads += 1
        stop.progress = reads
        # The others need the CPU more.
        time.sleep(0.01)
    return {"reads": reads}


CANONICAL = {
    text.replace(f"deny proto udp dport {X}-{X} from 10.0.0.0/8",
                 f"deny from 10.0.0.0/8 proto udp dport {X}")
    for text in TABLES
}  # fmt: skip


def backlog_drops() -> int:
    """Packets that the host lost before any hook, for want of room."""
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


def test_ten_thousand_swaps(net: Routed, tell: Callable[[str], None]) -> None:
    """No wrong verdict in ten thousand swaps under traffic."""
    tables = [text.encode() for text in TABLES]
    write_table(tables[0])
    before, dropped = Status.read(), backlog_drops()
    with (
        # Their buffers fill, and then they are silent: no ICMP error comes back.
        net.client.udp("10.1.0.2", X),
        net.client.udp("10.1.0.2", Y),
        running(sender()) as sending,
        running(injector(net)) as injecting,
        running(reader) as reading,
    ):
        until(lambda: Status.read().dropped > before.dropped + 100, "traffic")
        start = time.monotonic()
        for number in range(1, SWAPS + 1):
            write_table(tables[number % len(tables)])
            if number % 100 == 0:
                # At least as many packets as swaps, all the way, however slow they are.
                until(
                    lambda n=number: all(
                        c.stop_flag.progress >= n for c in (sending, injecting)
                    ),
                    "traffic keeps up",
                )
        seconds = time.monotonic() - start
        until(lambda: reading.stop_flag.progress > 10, "somebody reads")
        sent, injected, reads = sending.finish(), injecting.finish(), reading.finish()

    def passed_by() -> dict[str, int] | None:
        """What has come through, once all that was not lost before has."""
        passed = nft.counters("next")
        lost = backlog_drops() - dropped
        return passed if passed["y"] >= injected["y"] - lost else None

    passed = until(passed_by, "no Y was stopped")
    after = Status.read()
    judged = sent["judged"] + injected["x"] + injected["y"]
    tell(
        f"{SWAPS} swaps in {seconds:.1f} s, {judged} packets judged, {reads['reads']} readings"
    )

    assert after.generation == before.generation + SWAPS
    assert sent["x passed"] == 0
    assert sent["y stopped"] == 0
    assert passed["x"] == 0
    assert passed["y"] <= injected["y"]
    assert judged >= 3 * SWAPS


def write_table(data: bytes) -> None:
    """As `>` does."""
    fd = os.open(RULES, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    os.write(fd, data)
    os.close(fd)
