# SPDX-License-Identifier: GPL-2.0
"""The kernel's connection tracking: whether it is there, who holds it, and where it works."""

import contextlib
import errno
from pathlib import Path

from lib import module
from lib.netns import HOST, Namespace
from lib.poll import until

NAME = "nf_conntrack"


def references() -> int:
    """How many hold the module, -1 if it is not loaded."""
    for line in Path("/proc/modules").read_text().splitlines():
        name, _, count, *_ = line.split()
        if name == NAME:
            return int(count)
    return -1


def _users(name: str) -> list[str]:
    """The modules that are linked against another one."""
    for line in Path("/proc/modules").read_text().splitlines():
        words = line.split()
        if words[0] == name:
            return [user for user in words[3].split(",") if user not in ("", "-")]
    return []


def _remove(name: str) -> None:
    for user in _users(name):
        _remove(user)
    with contextlib.suppress(FileNotFoundError):
        module.remove(name)


def remove() -> None:
    """Unloads connection tracking, and all that is linked against it."""

    def attempt() -> bool:
        # The last packets that refer to connections may still be about, and another module just on
        # its way in or out.
        try:
            _remove(NAME)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EBUSY):
                raise
        return references() == -1

    until(attempt, "nf_conntrack can be unloaded")


def load() -> None:
    """Loads it, as others do who want it."""
    HOST.run(["modprobe", NAME])


def tracks(netns: Namespace) -> set[str]:
    """The families (`ip`, `ip6`) whose connections are tracked in a namespace."""
    return {
        family
        for family in ("ip", "ip6")
        if f"[{NAME}]" in netns.run(["nft", "list", "hooks", family])
    }
