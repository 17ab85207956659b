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

# Memory of processes and of files, in which ctrfw has no part; where it has, it is named.
OF_PROCESSES = re.compile(
    r"\b(\w*filemap_\w+|handle_mm_fault|\w*anon_vma_\w+|vm_area_\w+|dup_mm\w*|do_mmap|begin_new_exec"
    r"|load_elf_binary|bprm_execve)\+"
)

# What a namespace's array of generic pointers begins with (INITIAL_NET_GEN_PTRS)
GENERIC_LENGTH = 13


@dataclass(frozen=True)
class Suspect:
    """An object on the list."""

    address: str
    jiffies: int
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses what follows `unreferenced object`."""
        match = re.match(r"(\S+).*?jiffies (\d+)", text, re.DOTALL)
        assert match, text
        return cls(match[1], int(match[2]), text)

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
    def is_generic_array(self) -> bool:
        """Whether it is a namespace's array of pointers for modules, which `ops_init()` made longer.

        It stays with its namespace whatever becomes of who asked for it. It begins with its length
        in words, and has the next larger size that the allocator knows.
        """
        size = re.search(r"\(size (\d+)\)", self.text)
        dump = re.search(r"((?:[0-9a-f]{2} ){4})", self.text.partition("hex dump")[2])
        frame = re.search(r"__kmalloc_noprof\+\S+\s+ops_init\+", self.text)
        if not (size and dump and frame):
            return False
        length = int.from_bytes(bytes.fromhex(dump[1]), "little")
        return length >= GENERIC_LENGTH and 8 * length <= int(size[1]) < 16 * length

    @property
    def is_leak(self) -> bool:
        """Whether it is to be taken seriously."""
        if self.names_module and not self.is_generic_array:
            return True
        others = (ONLY_IN_INIT_NET, OF_PROCESSES)
        return not any(other.search(self.text) for other in others)


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
    # One look may be mistaken about an object that is just on its way: what has leaked is seen by all.
    looks = []
    for _ in range(3):
        time.sleep(MIN_AGE)
        FILE.write_text("scan")
        texts = FILE.read_text().split("unreferenced object ")[1:]
        looks.append({(s.address, s.jiffies): s for s in map(Suspect.parse, texts)})
    suspects = [s for key, s in looks[0].items() if all(key in look for look in looks)]
    return [s.text for s in suspects if s.jiffies >= since and s.is_leak]
