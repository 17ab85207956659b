# SPDX-License-Identifier: GPL-2.0
"""What it takes to load a table: `load_cost.py OUTPUT`, in a guest of User Mode Linux.

For each engine: the seconds until the table is in force, and the processor's, kernel's and user
space's together; the memory that it takes then; and one rule more among 100,000. Memory is measured
alike for all, as what is free before and after, with nothing cached and the loader gone; of ctrfw
its own word in the status file is told as well.
"""

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import peers
from figures import Figure, figure, write
from lib import control, module
from lib.netns import Namespace
from lib.poll import until

REPEATS = 3
EDITS = 20
# Bytes that the kernel's allocators may keep for themselves.
SLACK = 2 << 20
# Seconds
PATIENCE = 10
# Some list all that there is before they add to it: seconds, for one table.
EDITING = 5
NEW = "192.0.2.1"


class Cost(NamedTuple):
    """Seconds by the clock, seconds of the processors, bytes."""

    wall: float
    cpu: float
    memory: float


class Engine(NamedTuple):
    """How an engine is told of a table.

    `load` is what is measured; `edit` and `undo` are for one rule, and are given its number.
    """

    name: str
    rules: str
    count: int
    load: Callable[[Namespace], None]
    edit: Callable[[Namespace, int], None] | None = None
    undo: Callable[[Namespace, int], None] | None = None
    parameters: dict[str, int] | None = None


def _free() -> int:
    """Bytes of memory that nobody has, when it is at rest, and no cache keeps any for later."""

    def now() -> int:
        for cache in Path("/sys/kernel/slab").glob("*/shrink"):
            with contextlib.suppress(OSError):
                cache.write_text("1\n")
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("MemFree:")) * 1024

    seen = [now()]

    def settled() -> bool:
        time.sleep(0.3)
        seen.append(now())
        return abs(seen[-1] - seen[-2]) < 256 << 10

    until(settled, "memory at rest")
    return seen[-1]


def _cpu() -> float:
    usage = [
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _timed(what: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), _cpu()
    what()
    return time.perf_counter() - wall, _cpu() - cpu


def _runs(*command: str) -> Callable[[Namespace], None]:
    return lambda netns: _in(netns, command)


def _in(netns: Namespace, command: Sequence[str]) -> None:
    with netns:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _edits(*command: str) -> Callable[[Namespace, int], None]:
    return lambda netns, _number: _in(netns, command)


def _writes(text: str) -> Callable[[Namespace, int], None]:
    return lambda _netns, number: control.load_rules(text.format(number), append=True)


def engines() -> list[Engine]:
    """All of them, with the tables that they are given."""
    found = []
    for size, count in (("100k", 100_000), ("1m", 1_000_000)):
        data = (peers.SETS / f"acl1_{size}.ctrfw").read_bytes()
        found.append(
            Engine(
                "ctrfw",
                f"acl1_{size}",
                count,
                lambda _netns, data=data: control.write(control.RULES, data),
                _writes(f"insert {{}} allow from {NEW}"),
                _writes("delete {}"),
                peers.LIMITS,
            )
        )
    name = str(peers.SETS / "acl1_100k")
    new = ["-A", "FORWARD", "-s", NEW, "-j", "ACCEPT"]
    old = ["-D", "FORWARD", "100001"]
    found.append(
        Engine(
            "nft linear",
            "acl1_100k",
            100_000,
            _runs("nft", "-f", f"{name}.nft"),
            _edits(
                "nft",
                "add",
                "rule",
                "ip",
                "bench",
                "forward",
                "ip",
                "saddr",
                NEW,
                "accept",
            ),
        )
    )
    for kind in ("legacy", "nft"):
        found.append(
            Engine(
                f"iptables-{kind}",
                "acl1_100k",
                100_000,
                _runs(f"iptables-{kind}-restore", f"{name}.iptables"),
                _edits(f"iptables-{kind}", *new),
                _edits(f"iptables-{kind}", *old),
            )
        )
    found.append(
        Engine(
            "nft 5-field set",
            "acl1_10k",
            10_000,
            _runs("nft", "-f", str(peers.SETS / "acl1_10k.concat.nft")),
        )
    )
    name = str(peers.SETS / "members_100k")
    found.append(
        Engine(
            "ipset hash:net",
            "members_100k",
            100_000,
            _runs("ipset", "-f", f"{name}.ipset", "restore"),
            _edits("ipset", "-exist", "add", "members", NEW),
            _edits("ipset", "del", "members", NEW),
        )
    )
    found.append(
        Engine(
            "nft interval set",
            "members_100k",
            100_000,
            _runs("nft", "-f", f"{name}.interval.nft"),
            _edits("nft", "add", "element", "ip", "bench", "members", f"{{ {NEW} }}"),
            _edits(
                "nft", "delete", "element", "ip", "bench", "members", f"{{ {NEW} }}"
            ),
        )
    )
    return found


def once(engine: Engine, edits: list[float], told: list[float]) -> Cost:
    """Loads a table into a new namespace, edits it, and takes it away."""
    netns = Namespace.create_bare(engine.name)
    if engine.parameters is not None:
        module.load(**engine.parameters)
    before = _free()
    wall, cpu = _timed(lambda: engine.load(netns))
    memory = before - _free()
    if engine.parameters is not None:
        told.append(control.Status.read().memory / engine.count)
    if engine.edit is not None:
        edit, undo = engine.edit, engine.undo
        enough = time.monotonic() + EDITING
        for _ in range(EDITS):
            if time.monotonic() > enough:
                break
            edits.append(_timed(lambda: edit(netns, engine.count // 2))[0] * 1000)
            if undo is not None:
                undo(netns, engine.count // 2)
    if engine.parameters is not None:
        module.unload()
    netns.delete()
    # A namespace is taken down later, in work of the kernel's own. What its allocators keep for
    # themselves after that is not given back.
    with contextlib.suppress(AssertionError):
        until(lambda: _free() > before - max(SLACK, memory // 10), "memory", PATIENCE)
    return Cost(wall, cpu, memory / engine.count)


def figures_of(engine: Engine) -> list[Figure]:
    """Measures one of them."""
    edits: list[float] = []
    told: list[float] = []
    costs = [once(engine, edits, told) for _ in range(REPEATS)]
    how = "whole program" if engine.parameters is None else "write(2) to close(2)"
    rules, name = engine.rules, engine.name
    found = [
        figure(
            f"load {rules}", name, "s", [c.wall for c in costs], f"{how}, by the clock"
        ),
        figure(
            f"load CPU {rules}",
            name,
            "s",
            [c.cpu for c in costs],
            f"{how}, user and system",
        ),
        figure(
            f"memory {rules}",
            name,
            "B/rule",
            [c.memory for c in costs],
            "MemFree before and after, caches dropped",
        ),
    ]
    if told:
        how_told = "the status file, without counters"
        found.append(
            figure(f"memory {rules}", f"{name}, its status", "B/rule", told, how_told)
        )
    if edits:
        found.append(
            figure(f"edit {rules}", name, "ms", edits, f"one more: {how}, by the clock")
        )
    return found


def main() -> None:
    """Measures all of them, and what it costs to start a program that does nothing."""
    peers.modprobe()
    # Each CPU keeps free pages at hand, which do not count as free: as few as may be.
    Path("/proc/sys/vm/percpu_pagelist_high_fraction").write_text("1000000\n")
    nothing = [
        _timed(lambda: _in(Namespace.create_bare("x"), ["true"]))[0] * 1000
        for _ in range(EDITS)
    ]
    found = [
        figure("edit nothing", "true", "ms", nothing, "a program that does nothing")
    ]
    for engine in engines():
        start = time.monotonic()
        found += figures_of(engine)
        print(
            f"{engine.name} {engine.rules}: {time.monotonic() - start:.0f} s",
            flush=True,
        )
    write(Path(sys.argv[1]), sorted(found, key=lambda item: str(item["group"])))


if __name__ == "__main__":
    main()
