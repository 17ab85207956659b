# SPDX-License-Identifier: GPL-2.0
"""The loop around nf_hook(), hook_loop.ko, as seen from user space."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from lib import module
from lib.netns import Namespace, up

DIRECTORY = Path("/sys/kernel/debug/hook_loop")
# As many as are copied at a time.
LEAST = 16


class Times(NamedTuple):
    """What a run of the loop took: for each batch, one call in `unit`."""

    unit: str
    calls: list[float]


def load() -> None:
    """Loads the module; it is beside ctrfw's."""
    subprocess.run(["insmod", module.KO.with_name("hook_loop.ko")], check=True)


def prepare(netns: Namespace) -> None:
    """Gives a namespace the two devices that packets are between."""
    netns.ip("link add in0 type dummy", "link add out0 type dummy")
    for device in ("in0", "out0"):
        up(netns, device)


def hand_in(packets: bytes) -> None:
    """The packets that are used from now on."""
    (DIRECTORY / "packets").write_bytes(packets)


def run(netns: Namespace, hook: str, batch: int, batches: int) -> Times:
    """Calls a hook of a namespace so many times; an error if a packet is refused."""
    with netns, open(DIRECTORY / "run", "r+b", buffering=0) as file:
        file.write(f"{hook} in0 out0 {batch} {batches}\n".encode())
        text = file.readall().decode()
    refused, unit, *times = text.splitlines()
    if refused != "refused 0":
        raise AssertionError(f"{netns}: {refused} of {batch * batches}")
    return Times(unit.split()[1], [int(time) / batch for time in times])
