# SPDX-License-Identifier: GPL-2.0
"""The kernel's log, read record by record from /dev/kmsg."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

KERNEL_FACILITY = 0
LEVEL_ERROR = 3

# What no kernel says while all is well.
REPORT = re.compile(
    r"""
      ^WARNING: | ^BUG: | \bBUG\b | Oops | KASAN | KFENCE | UBSAN | KCSAN | ODEBUG
    | kernel\ BUG\ at | cut\ here | Call\ Trace | general\ protection | Unable\ to\ handle
    | rcu.*\bstall | rcu:\ INFO | hung\ task | blocked\ for\ more\ than | soft\ lockup | hard\ LOCKUP
    | circular\ locking | suspicious\ RCU | inconsistent\ lock | lock\ held\ when\ returning
    | sleeping\ function\ called | scheduling\ while\ atomic | possible\ recursive\ locking
    | refcount_t | ref_tracker | unregister_netdevice:\ waiting
    | list_(add|del)\ corruption | stack\ guard | page\ allocation\ failure | Bad\ page
    | rust_kernel:\ panicked | Kernel\ panic | segfault\ at
    """,
    re.VERBOSE,
)

# At level "error", but no fault: what a kernel says of its machine.
HARMLESS = re.compile(r"hrtimer: interrupt took|clocksource:|TSC")


@dataclass(frozen=True)
class Record:
    """One record of the log."""

    level: int
    facility: int
    sequence: int
    time: float
    text: str

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses `6,339,5140900,-;text` and drops the continuation lines' dictionary."""
        head, _, rest = data.partition(b";")
        priority, sequence, micros, *_ = head.split(b",")
        text = rest.split(b"\n", 1)[0]
        # /dev/kmsg itself escapes backslashes and what cannot be printed.
        plain = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text)
        return cls(
            level=int(priority) & 7,
            facility=int(priority) >> 3,
            sequence=int(sequence),
            time=int(micros) / 1e6,
            text=plain.decode(errors="backslashreplace"),
        )

    @property
    def is_report(self) -> bool:
        """Whether the kernel complains."""
        if self.facility != KERNEL_FACILITY or HARMLESS.search(self.text):
            return False
        return self.level <= LEVEL_ERROR or bool(REPORT.search(self.text))


class Kmsg:
    """A reader of the log that begins at its present end."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)

    def close(self) -> None:
        """Ends the reading."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def records(self) -> list[Record]:
        """All records since the last call.

        Records that were overwritten before they could be read are an error: a test must not
        take silence for a good sign.
        """
        found = []
        lost = False
        while True:
            try:
                found.append(Record.parse(os.read(self._fd, 8192)))
            except BrokenPipeError:
                lost = True
            except BlockingIOError:
                break
        assert not lost, (
            "the kernel's log was overwritten before it was read: boot with log_buf_len=4M"
        )
        return found

    def skip(self) -> None:
        """Forgets what has not been read."""
        os.lseek(self._fd, 0, os.SEEK_END)

    def texts(self) -> list[str]:
        """The texts of the kernel's own records since the last call."""
        return [
            record.text
            for record in self.records()
            if record.facility == KERNEL_FACILITY
        ]


def note(text: str) -> None:
    """Writes a line of our own into the log, for whoever reads it later."""
    Path("/dev/kmsg").write_text(f"<6>ctrfw-test: {text}\n")
