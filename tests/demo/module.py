# SPDX-License-Identifier: GPL-2.0
"""ctrfw.ko and its files in /proc/ctrfw."""

import os
import pathlib
import subprocess

PROC = pathlib.Path("/proc/ctrfw")


# Whole connections are traced here, more than the log is meant to carry.
OPTIONS = ("trace_rate=1000", "trace_burst=1000")


def insert():
    subprocess.run(["insmod", os.environ["CTRFW_KO"], *OPTIONS], check=True)


def remove():
    subprocess.run(["rmmod", "ctrfw"], check=True)


def load(name, text):
    """What `cat FILE > /proc/ctrfw/NAME` does: one transaction."""
    (PROC / name).write_text(text)


def read(name):
    return (PROC / name).read_text()


def status():
    """{first word: rest} of the status file; the hooks' lines by their names."""
    words = {}
    for line in read("status").splitlines():
        key, _, rest = line.removeprefix("hook ").partition(" ")
        words[key] = rest
    return words


def dropped():
    """Packets refused so far, all hooks together."""
    rest = (w.split() for w in status().values())
    return sum(int(w[w.index("dropped") + 1]) for w in rest if "dropped" in w)
