# SPDX-License-Identifier: GPL-2.0
"""What the demonstration prints and counts."""

import time

START = time.monotonic()


class Tally:
    """Counts expectations; every failed one is a failed demonstration."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, passed, failed):
        self.passed += passed
        self.failed += failed

    def count(self, ok):
        self.add(int(ok), int(not ok))
        return ok

    def check(self, ok, text, why=""):
        """One expectation on a line of its own."""
        tail = "ok" if self.count(ok) else f"FAILED {why}".rstrip()
        show(f"  {text}  {tail}")


def progress(text):
    show(f"demo: {time.monotonic() - START:5.1f} s  {text}")


def show(text="", end="\n"):
    """At once: under emulation people wait for every line."""
    print(text, end=end, flush=True)


def heading(text):
    show(f"\n=== {text} === ({time.monotonic() - START:.0f} s)")
