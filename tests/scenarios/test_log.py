# SPDX-License-Identifier: GPL-2.0
"""The `log` option: whose packets have lines, what the lines say, and how many there are.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Proven: one line for each source, destination, destination port and statement in its time; the next
line tells how many were held back; a limit for all lines together; and no packet is lost count of,
though the keys are more than there is room for, and though the table is replaced.
"""

import re
import time
from collections.abc import Callable, Iterator

import pytest

from lib import control
from lib.control import SENTINEL_RULE, Status
from lib.kmsg import Kmsg
from lib.netns import Namespace, created
from lib.packets import ipv4, ipv6
from lib.poll import until
from lib.topology import Routed

C4, S4, C6, S6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
HELD = re.compile(r" held_back=(\d+)$")
PORT = re.compile(r" dpt=(\d+) .* held_back=")
LEFT_OUT = re.compile(r"ctrfw: log: (\d+) lines left out")


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


@pytest.fixture
def log(ctrfw: None) -> Iterator[Kmsg]:
    """The kernel's log from here on."""
    with Kmsg() as reader:
        yield reader


def udp(
    sport: int = 40000, dport: int = 7, src: str = C4, dst: str = S4, size: int = 0
) -> bytes:
    """A UDP packet through the host."""
    body = sport.to_bytes(2) + dport.to_bytes(2) + b"\0\x08\0\0" + bytes(size)
    make = ipv6 if ":" in src else ipv4
    return make(src, dst, 17, body)


def lines(log: Kmsg, prefix: str = "log") -> list[str]:
    """The lines with this prefix since the last call, behind it."""
    begin = f"ctrfw: {prefix} "
    return [text.removeprefix(begin) for text in log.texts() if text.startswith(begin)]


def held_back(texts: list[str]) -> list[int]:
    """How many lines each says were held back."""
    return [int(match[1]) for text in texts if (match := HELD.search(text))]


def send(netns: Namespace, ports: Iterator[int] | range) -> int:
    """Sends a datagram to each of the ports on the loopback device; how many they were."""
    count = 0
    with netns.udp("127.0.0.1", 4000) as sock:
        for port in ports:
            sock.sendto(b"x", ("127.0.0.1", port))
            count += 1
    return count


def test_line(net: Routed, log: Kmsg) -> None:
    """Every field, of both families, with and without a prefix."""
    control.load_rules(
        SENTINEL_RULE,
        'deny proto udp dport 7 hook forward log "to \N{WHITE SMILING FACE}"',
        "deny proto tcp log",
    )
    assert net.forwarded(udp()) == [False]
    assert net.forwarded(udp(src=C6, dst=S6)) == [False]
    tcp = ipv4(C4, S4, 6, b"\x9c\x40\0\x16" + bytes(9) + b"\x02" + bytes(6))
    assert net.forwarded(tcp) == [False]
    texts = [text for text in log.texts() if text.startswith("ctrfw: ")]
    host = r"netns=\d+\(host\)"
    for text, expected in zip(
        texts,
        [
            rf"to \N{{WHITE SMILING FACE}} deny {host} hook=FORWARD in=cl0 out=srv0 src=10\.1\.0\.2"
            r" dst=10\.2\.0\.2 proto=UDP spt=40000 dpt=7 len=28 rule=2 held_back=0",
            rf"to \N{{WHITE SMILING FACE}} deny {host} hook=FORWARD in=cl0 out=srv0 src=fd00:1::2"
            r" dst=fd00:2::2 proto=UDP spt=40000 dpt=7 len=48 rule=2 held_back=0",
            rf"log deny {host} hook=PRE_ROUTING in=cl0 out=- src=10\.1\.0\.2 dst=10\.2\.0\.2"
            r" proto=TCP spt=40000 dpt=22 flags=SYN len=40 rule=3 held_back=0",
        ],
        strict=True,
    ):
        assert re.fullmatch(f"ctrfw: {expected}", text), text


def test_keys(net: Routed, log: Kmsg) -> None:
    """Source, destination, destination port and statement have lines of their own; nothing else."""
    control.load_rules(
        SENTINEL_RULE,
        'allow proto udp hook pre_routing log "in"',
        'deny proto udp dport 7-8 hook forward log "through"',
    )
    packets = [
        udp(),
        udp(dport=8),
        udp(src="10.1.0.3"),
        udp(dst="10.2.0.3"),
        # The same again, and what is no part of the key.
        udp(),
        udp(sport=40001),
        udp(size=100),
    ]
    assert net.forwarded(*packets) == [False] * len(packets)
    texts = log.texts()
    for prefix in ("in", "through"):
        found = [text for text in texts if text.startswith(f"ctrfw: {prefix} ")]
        assert len(found) == 4, found
        assert held_back(found) == [0] * 4


def test_time(net: Routed, log: Kmsg) -> None:
    """When its time is over the next line tells how many were held back."""
    control.load_rules(
        SENTINEL_RULE, "deny proto udp dport 7 hook forward log every 1s"
    )
    # Between when and when each packet came by
    times: list[tuple[float, float]] = []

    def told() -> list[int]:
        begin = time.monotonic()
        net.forwarded(udp())
        times.append((begin, time.monotonic()))
        return held_back(lines(log))

    assert told() == [0]
    counts = until(told, "the next line")
    (begin, end), *held, last = times
    assert counts == [len(held)]
    # However slow it goes: who was held back came in time, and who was not came after it.
    assert all(came - end < 1.1 for came, _ in held)
    assert last[1] - begin > 0.9


def test_default(net: Routed, log: Kmsg) -> None:
    """A default logs what no rule decided, and only where it decides itself."""
    control.load_rules(
        SENTINEL_RULE,
        "allow proto udp dport 8",
        'default deny hook forward log "rest" every 5m',
        "default allow",
    )
    assert net.forwarded(udp(), udp(dport=8), udp()) == [False, True, False]
    (line,) = lines(log, "rest")
    assert line.startswith("deny ") and line.endswith(" rule=default held_back=0")
    assert control.rules()[-2] == 'default deny hook forward log "rest" every 5m'
    # Read back, it is still there.
    control.write(control.RULES, control.RULES.read_bytes())
    assert net.forwarded(udp()) == [False]
    assert len(lines(log, "rest")) == 1


def test_of_a_container(log: Kmsg) -> None:
    """What happens in a container's namespace is in the host's log."""
    with created("one") as (one,):
        control.load_rules(
            f'allow proto udp dport 4100 hook local_out netns {one.inode} log "c"',
            "deny proto udp dport 4101 netns container log",
        )
        send(one, range(4100, 4101))
        (line,) = lines(log, "c")
        assert line.startswith(f"allow netns={one.inode} hook=LOCAL_OUT in=- out=lo ")
        with pytest.raises(PermissionError):
            send(one, range(4101, 4102))
        assert len(lines(log)) == 1


def test_nothing_is_logged_unasked(net: Routed, log: Kmsg) -> None:
    """Without the option there is no line, and no memory is spent."""
    before = Status.read()
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 7", "default deny")
    plain = Status.read().memory
    assert net.forwarded(udp()) == [False]
    assert not [text for text in log.texts() if "held_back" in text]
    assert Status.read().logged == before.logged
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 7 log", "default deny")
    assert 60_000 < Status.read().memory - plain < 70_000


@pytest.mark.parameters(log_rate=5, log_burst=20)
def test_all_together(log: Kmsg) -> None:
    """However many keys there are, the lines of all obey one limit; the others are counted."""
    with created("one") as (one,):
        control.load_rules("allow proto udp hook local_out netns container log")
        start = time.monotonic()
        count = send(one, range(5000, 5500))
        seconds = time.monotonic() - start
        texts = log.texts()
        status = Status.read()
        assert status.logged + status.log_left_out == count
        assert len(held_back(texts)) == status.logged
        assert 20 <= status.logged <= 20 + 5 * seconds + 1
        # Who was left out has a line as soon as there is room, and is not held back.
        time.sleep(1)
        told = {int(match[1]) for text in texts if (match := PORT.search(text))}
        port = next(port for port in range(5000, 5500) if port not in told)
        send(one, range(port, port + 1))
        texts += log.texts()
        assert len(held_back(texts)) == Status.read().logged == status.logged + 1
        assert sum(int(m[1]) for text in texts if (m := LEFT_OUT.match(text))) == (
            status.log_left_out
        )


def test_no_packet_is_lost_count_of(log: Kmsg, tell: Callable[[str], None]) -> None:
    """More keys than there is room for, and a table that is replaced: all is accounted for."""
    with created("one") as (one,):
        # However long it takes, nobody's time is over.
        control.load_rules(
            "allow proto udp hook local_out netns container log every 1h"
        )
        told = printed = count = 0
        # Bit by bit, as the log has room for so many lines only.
        for first in (10000, 12000, 14000, 16000, 10000):
            for _ in range(2):
                count += send(one, range(first, first + 2000))
            found = held_back(log.texts())
            printed += len(found)
            told += sum(found)
        status = Status.read()
        assert (status.logged, status.log_left_out) == (printed, 0)
        tell(f"{count} packets: {printed} lines, {status.log_untold} evicted untold")
        # 8000 keys do not fit into 4096 entries.
        assert 8000 <= printed < count
        assert 0 < status.log_untold <= count - printed
        control.load_rules()
        assert printed + told + Status.read().log_untold == count


def test_trials_are_logged(net: Routed, log: Kmsg) -> None:
    """What `audit` matches and what `mode audit` would refuse is logged without a word."""
    for text, expected in (
        (["audit dport 7 hook forward"], ["audit"]),
        (["audit dport 7 hook forward", "audit hook forward dport 7"], ["audit"] * 2),
        (["mode audit", "deny dport 7 hook forward"], ["would-deny"]),
        (["mode audit", "reject dport 7 hook forward"], ["would-reject"]),
        (
            ["mode audit", "audit dport 7 hook forward", "default deny hook forward"],
            ["audit", "would-deny"],
        ),
        (["mode audit", "allow dport 7", "deny dport 7 hook forward"], []),
        (["deny dport 8 hook forward"], []),
    ):
        control.load_rules(SENTINEL_RULE, *text)
        lines(log)
        assert net.forwarded(udp()) == [True], text
        found = lines(log)
        assert [line.split(" ")[0] for line in found] == expected, text
        assert all(" hook=FORWARD " in line for line in found)
    # A word there chooses prefix and time.
    control.load_rules(
        SENTINEL_RULE, "mode audit", 'deny dport 7 hook forward log "trial" every 1h'
    )
    assert net.forwarded(udp(), udp(size=1), udp(size=2)) == [True] * 3
    (line,) = lines(log, "trial")
    assert line.startswith("would-deny ")
    control.load_rules()
