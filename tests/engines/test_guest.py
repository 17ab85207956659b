# SPDX-License-Identifier: GPL-2.0
"""A virtual machine's traffic is untouched unless the policy names it."""

from collections.abc import Callable

import pytest

from engines.baseline import LINGER, Baseline
from lib import control, ready
from lib.reach import ANSWERED, Cell, read
from lib.scene import Scene
from lib.topology import bridge_calls

CELLS = read("""
guest   ext        tcp udp ping   yes  # out
guest   lan        tcp udp ping   yes  # into the private network
guest   wan0       tcp udp ping   yes  # to the host
guest   virbr0     tcp udp ping   yes  # to the host
guest   wan0:8081  tcp            yes  # to what Docker publishes
host    guest      tcp udp ping   yes  # from the host
lan     guest      tcp udp ping   yes  # from the private network
ext     guest      tcp udp ping   yes  # from outside
""")
NAMED = "deny in virbr0 to { 192.168.50.0/24, fd00:50::/64 } hook forward netns host"


def answered(scene: Scene, awaited: set[Cell]) -> set[Cell]:
    """Which of them are."""
    results = scene.attempt(CELLS, lambda cell: cell in awaited, LINGER)
    return {cell for cell, result in results.items() if result == ANSWERED}


def test_guest(baseline: Baseline, scene: Scene, note: Callable[..., None]) -> None:
    """the guest's own traffic, with each policy and without; and with a rule that names its bridge"""
    bridge_calls(1)
    scene.addresses["virbr0"] = {4: "192.168.122.1", 6: "fd00:122::1"}
    before = answered(scene, set()) | answered(scene, set())
    assert {cell.source for cell in before} >= {"guest", "host"}
    # What Docker publishes is another matter: a policy may speak of that.
    untouched = {cell for cell in before if cell.port != 8081}
    for policy in ready.TABLES:
        ready.enforce(policy, *scene.outside)
        wrong = {c for c in before ^ answered(scene, untouched) if c.port != 8081}
        if wrong:
            pytest.fail(f"{policy}:\n" + "\n".join(map(str, wrong)), pytrace=False)
    control.load_rules(NAMED)
    expected = {c for c in before if (c.source, c.target) != ("guest", "lan")}
    assert expected != before
    assert answered(scene, expected) == expected
    note(tried=len(CELLS), answered=len(before))
