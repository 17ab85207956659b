# SPDX-License-Identifier: GPL-2.0
"""What the trace costs a hook, and how fast its events can be read.

    trace_cost.py FIGURES

The hook is called in a loop in the kernel, with packets of TCP, by one process on one CPU. Whoever reads
does so in a process of its own on another, and throws away what it has read.
"""

import contextlib
import os
import random
import sys
import time
from pathlib import Path

import loop
from figures import Figure, figure, write
from lib import control, module
from lib.background import Background, Stop
from lib.control import EVENTS, Status
from lib.netns import Namespace, created
from lib.packets import ipv4
from lib.poll import until

# The trace, each with a table, so that headers are parsed in any case.
CASES = {
    "off": (),
    "on, no packet matches": ("proto esp",),
    "on, every packet is an event": ("proto tcp",),
}
TABLE = "deny from 192.0.2.77"
ROUNDS = 40
BATCH, BATCHES = 4000, 6
# Events a second, and for how long.
RATES = (250_000, 500_000, 1_000_000, 2_000_000)
SECONDS = 5.0
# By what is said behind the rate.
RINGS = {"": {}, ", trace_bytes 128 MiB": {"trace_bytes": 128 << 20}}
# What is printed is not what is measured.
QUIET = {"trace_rate": 1, "trace_burst": 1}
TICK = 0.001
# As much as cat(1) reads at a time.
PIECE = 128 << 10


def packets() -> bytes:
    """Sixteen, each from another address."""
    header = b"\x9c\x40\x1f\x90" + bytes(8) + b"\x50\x10" + bytes(30)
    return b"".join(
        ipv4(f"10.1.0.{host}", "10.2.0.2", 6, header) for host in range(1, 17)
    )


def costs(netns: Namespace) -> list[Figure]:
    """A hook's time in each case, and what an event adds to it."""
    taken: dict[str, list[float]] = {case: [] for case in CASES}
    events: list[float] = []
    for _ in range(ROUNDS):
        medians = {}
        for case in random.sample(list(CASES), len(CASES)):
            control.trace(*CASES[case])
            # The first batches find caches and pages cold.
            calls = loop.run(netns, "forward", BATCH, BATCHES).calls[BATCHES // 2 :]
            taken[case] += calls
            medians[case] = sorted(calls)[len(calls) // 2]
        events.append(
            medians["on, every packet is an event"] - medians["on, no packet matches"]
        )
    how = f"loop around nf_hook(), batches of {BATCH}, a table of one rule"
    cases = [
        figure("trace, one hook", case, "ns", calls, how)
        for case, calls in taken.items()
    ]
    paired = "every packet an event, less none, in the same round"
    return [*cases, figure("trace", "an event", "ns", events, f"{how}; {paired}")]


def reading(netns: Namespace) -> Figure:
    """How long a reader takes for an event, who has a CPU for himself."""
    control.trace("proto tcp")
    fd = os.open(EVENTS, os.O_RDONLY | os.O_NONBLOCK)
    taken = []
    for _ in range(ROUNDS):
        with contextlib.suppress(BlockingIOError):
            while os.read(fd, PIECE):
                pass
        loop.run(netns, "forward", BATCH, BATCHES)
        start = time.perf_counter_ns()
        with contextlib.suppress(BlockingIOError):
            while os.read(fd, PIECE):
                pass
        taken.append((time.perf_counter_ns() - start) / (BATCH * BATCHES))
    os.close(fd)
    how = f"{BATCH * BATCHES} events, then read(2) of all of them"
    return figure("trace", "a line, for its reader", "ns", taken, how)


def read(stop: Stop) -> int:
    """Reads until it is to stop and there is nothing left; how many events."""
    fd = os.open(EVENTS, os.O_RDONLY | os.O_NONBLOCK)
    lines = 0
    stop.progress = 1
    while True:
        last = bool(stop)
        try:
            lines += os.read(fd, PIECE).count(b" verdict=")
        except BlockingIOError:
            if last:
                return lines
            time.sleep(TICK)


def delivery(netns: Namespace, rate: int, ring: str) -> list[Figure]:
    """How many events reach a reader when so many come in a second, by a ring that is called so."""
    control.trace()
    control.trace("proto tcp")
    before = Status.read().lost
    child = Background(read)
    until(lambda: child.stop_flag.progress, "the file is open")
    start, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - start) < SECONDS:
        # The loop makes ten million a second: what was missed while the host had the CPU is made up for at
        # four times the rate only.
        due = min(int(now * rate) - sent, int(4 * TICK * rate))
        if due > 0:
            loop.run(netns, "forward", due, 1)
            sent += due
        # Its system calls would slow the reader's down: in User Mode Linux they are the host's business.
        time.sleep(TICK)
    seconds = time.perf_counter() - start
    got = child.finish()
    lost = Status.read().lost - before
    if got + lost != sent:
        raise AssertionError(f"{sent} events, {got} read, {lost} lost")
    how = f"loop around nf_hook() for {SECONDS:g} s, one reader of text on another CPU"
    group = f"trace, {rate} events/s{ring}"
    return [
        figure(group, "came", "events/s", [sent / seconds], how),
        figure(group, "read", "events/s", [got / seconds], how),
        figure(group, "lost, and told so", "events", [lost], how),
    ]


def main(path: Path) -> None:
    """Measures, and writes the figures."""
    os.sched_setaffinity(0, {0})
    module.ensure(**QUIET)
    loop.load()
    with created("one") as (one,):
        loop.prepare(one)
        loop.hand_in(packets())
        control.load_rules(TABLE)
        figures = [*costs(one), reading(one)]
        for ring, parameters in RINGS.items():
            module.ensure(**QUIET, **parameters)
            control.load_rules(TABLE)
            for rate in RATES:
                figures += delivery(one, rate, ring)
    write(path, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
