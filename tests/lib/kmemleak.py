# SPDX-License-Identifier: GPL-2.0
"""The kernel's list of memory that nobody points to any more, in debugging kernels."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FILE = Path("/sys/kernel/debug/kmemleak")

# Younger objects are not looked at.
MIN_AGE = 6

# User Mode Linux' kmemleak does not look into init_net: what only that points to is no leak.
ONLY_IN_INIT_NET = re.compile(
    r"\b(ref_tracker_alloc|ops_init|fib_\w+|fib4_\w+|tcp_get_metrics|allocate_hook_entries_size"
    r"|rhashtable_\w+|bucket_table_alloc|__rtnl_register_many|nf_conntrack_init_net"
    r"|regen_filesystems_string)\+"
)


@dataclass(frozen=True)
class Suspect:
    """An object on the list."""

    jiffies: int
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses what follows `unreferenced object`."""
        match = re.search(r"jiffies (\d+)", text)
        assert match, text
        return cls(int(match[1]), text)

    @property
    def names_module(self) -> bool:
        """Whether ctrfw was at work, or code that has no name because it is gone.

        The beginnings of other modules are gone as well; those come by modprobe.
        """
        frames = self.text.partition("backtrace")[2].splitlines()[1:]
        nameless = any(frame.strip().startswith("0x") for frame in frames)
        return "[ctrfw]" in self.text or (
            nameless and 'comm "modprobe"' not in self.text
        )

    @property
    def is_leak(self) -> bool:
        """Whether it is to be taken seriously."""
        return self.names_module or not ONLY_IN_INIT_NET.search(self.text)


def now() -> int:
    """The present time as the list has it."""
    match = re.search(
        r"^jiffies: (\d+)$", Path("/proc/timer_list").read_text(), re.MULTILINE
    )
    assert match
    return int(match[1])


def available() -> bool:
    """Whether this kernel has such a list."""
    return FILE.exists()


def leaks(since: int) -> list[str]:
    """Looks for leaked objects that are younger than a moment; what the kernel says of each."""
    # One look may be mistaken about an object that is just on its way.
    for _ in range(2):
        time.sleep(MIN_AGE)
        FILE.write_text("scan")
    suspects = map(Suspect.parse, FILE.read_text().split("unreferenced object ")[1:])
    return [s.text for s in suspects if s.jiffies >= since and s.is_leak]
