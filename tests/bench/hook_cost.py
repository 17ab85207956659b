# SPDX-License-Identifier: GPL-2.0
"""What a hook costs, with ctrfw and with its peers: `hook_cost.py PLAN OUTPUT`, in a guest.

All is measured in one boot, in rounds, each in an order of its own. Right before each thing that is
measured, the same packets go through a namespace without any hook: what is told is the difference of
the two, its median over the rounds with the quartiles. PLAN is

    time            nanoseconds, for User Mode Linux: all sets
    quick           the same with fewer sets and rounds
    instructions    one round in the order of the list, for QEMU's -icount
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import loop
import peers
from figures import Figure, figure, write
from lib.netns import Namespace

# How long a batch is to take, and all of a measurement: long enough for the clock, short enough for
# a host with other things to do.
BATCH_NS = 200_000
TOTAL_NS = 30_000_000
# Instructions need no repetition, but the packets are different ones.
FIXED_CALLS = 2_048
FIXED_LEAST = 64

Makers = list[Callable[[], list[peers.Subject]]]


def subjects(plan: str) -> Makers:
    """What a plan measures."""
    found: Makers = peers.empty()
    kinds = ("acl1", "fw1", "ipc1") if plan == "time" else ("acl1",)
    for kind in kinds:
        for size in ("10", "100", "1k", "10k", "100k"):
            found += peers.classified(
                f"{kind}_{size}", linear=size in ("10", "1k", "10k")
            )
    found += peers.ipv6("acl1_1k")
    for size in ("1k", "10k", "100k") if plan == "time" else ("1k", "10k"):
        found += peers.members(size)
    return found


def measure(netns: Namespace, traffic: peers.Traffic, data: bytes, plan: str) -> float:
    """What one call costs."""
    loop.hand_in(data)
    if plan == "instructions":
        # Chains of ten thousand rules take a second for a few dozen packets.
        first = loop.run(netns, traffic.hook, loop.LEAST, 1).calls[0]
        calls = FIXED_CALLS if first < 20_000 else FIXED_LEAST
        return loop.run(netns, traffic.hook, calls, 1).calls[0]
    # The clock of User Mode Linux ticks twice in a microsecond.
    first = max(1.0, min(loop.run(netns, traffic.hook, loop.LEAST, 2).calls))
    batch = max(loop.LEAST, int(BATCH_NS / first)) // loop.LEAST * loop.LEAST
    batches = max(5, min(400, int(TOTAL_NS / (first * batch))))
    # Caches are to be as warm as they get.
    loop.run(netns, traffic.hook, batch, batches // 3)
    return statistics.median(loop.run(netns, traffic.hook, batch, batches).calls)


def round_of(order: list[peers.Subject], plain: Namespace, plan: str) -> None:
    """Measures each once."""
    cache: dict[str, bytes] = {}
    for subject in order:
        packets = {}
        for traffic in subject.traffic:
            key = f"{traffic.file} {traffic.first}"
            packets[traffic.name] = cache.setdefault(key, traffic.read())
        bare = {
            t.name: measure(plain, t, packets[t.name], plan) for t in subject.traffic
        }
        subject.enter()
        try:
            for traffic in subject.traffic:
                cost = measure(
                    subject.netns or plain, traffic, packets[traffic.name], plan
                )
                pair = (bare[traffic.name], cost)
                subject.samples.setdefault(traffic.name, []).append(pair)
        finally:
            subject.leave()


def told(order: list[peers.Subject], unit: str, kernel: str) -> list[Figure]:
    """The figures, by traffic and rules."""
    found = []
    bare: dict[str, list[float]] = {}
    for subject in order:
        for name, pairs in subject.samples.items():
            bare.setdefault(name, []).extend(pair[0] for pair in pairs)
            how = f"one call of nf_hook() in {kernel}, less one without a hook{subject.notes}"
            extra = [cost - base for base, cost in pairs]
            group = f"hook {unit} {subject.rules}, {name}"
            found.append(figure(group, subject.name, unit, extra, how))
    for name, samples in bare.items():
        how = (
            f"one call of nf_hook() in {kernel} with the copying of the packet, no hook"
        )
        found.append(figure(f"hook {unit} none, {name}", "no hook", unit, samples, how))
    return sorted(found, key=lambda item: str(item["group"]))


def main() -> None:
    """Runs a plan."""
    plan, output = sys.argv[1], Path(sys.argv[2])
    rounds = {"time": 7, "quick": 3, "instructions": 1}[plan]
    peers.modprobe()
    loop.load()
    plain = Namespace.create_bare("plain")
    loop.prepare(plain)
    order: list[peers.Subject] = []
    for maker in subjects(plan):
        start = time.monotonic()
        made = maker()
        order += made
        took = time.monotonic() - start
        if took > 1:
            print(f"{made[0].name} {made[0].rules}: set up in {took:.1f} s", flush=True)
    loop.hand_in(order[0].traffic[0].read())
    unit = loop.run(plain, "forward", loop.LEAST, 1).unit
    if (unit == "instructions") != (plan == "instructions"):
        raise SystemExit(f"plan {plan} is not for a kernel whose loop counts {unit}")
    for number in range(rounds):
        start = time.monotonic()
        shuffled = list(order)
        if plan != "instructions":
            random.Random(number).shuffle(shuffled)
        round_of(shuffled, plain, plan)
        took = time.monotonic() - start
        print(
            f"round {number + 1} of {rounds}: {took:.0f} s, {len(order)} things",
            flush=True,
        )
    kernel = (
        "User Mode Linux"
        if unit == "ns"
        else "the stock kernel under QEMU -icount shift=0"
    )
    write(output, told(order, unit, kernel))


if __name__ == "__main__":
    main()
