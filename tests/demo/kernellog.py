# SPDX-License-Identifier: GPL-2.0
"""The kernel log from now on, as `dmesg` would show it."""

import os
import re
import time

TROUBLE = re.compile(
    r"WARNING|\bBUG\b|Oops|Call Trace|general protection|refcount_t|"
    r"unregister_netdevice|scheduling while atomic|leaked|KFENCE|UBSAN|hung task|stall"
)


class KernelLog:
    """Each read gives the lines that have come since the one before."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)
        self.everything = []
        self.lost = 0

    def read(self):
        lines = []
        while True:
            try:
                record = os.read(self.file, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:  # overwritten before it was read
                self.lost += 1
                continue
            lines.append(dmesg_line(record))
        self.everything += lines
        return lines

    def read_until(self, enough, seconds=60.0):
        """Reads until enough(lines), but no longer than seconds."""
        lines, end = self.read(), time.monotonic() + seconds
        while not enough(lines) and time.monotonic() < end:
            time.sleep(0.05)
            lines += self.read()
        return lines

    def trouble(self):
        self.read()
        return [line for line in self.everything if TROUBLE.search(line)]


def dmesg_line(record):
    """A record of /dev/kmsg in dmesg's form."""
    head, _, text = record.partition(";")
    micro = int(head.split(",")[2])
    return f"[{micro // 10**6:5}.{micro % 10**6:06}] {text.splitlines()[0]}"
