# SPDX-License-Identifier: GPL-2.0
"""Where firewalld trusts containers, the policy does not."""

from collections.abc import Callable

import pytest

from engines.baseline import Baseline
from engines.check import check
from lib import ready
from lib.command import run
from lib.ready import CELLS
from lib.scene import DEFAULT, STACK, Scene
from lib.topology import bridge_calls

POLICY = "lan-lockdown"


@pytest.mark.parametrize("bridged", [1, 0])
def test_trusted(
    baseline: Baseline, scene: Scene, bridged: int, note: Callable[..., None]
) -> None:
    """in the zone `trusted` firewalld refuses containers nothing; the policy all that it should"""
    sources = run("firewall-cmd", "--zone=trusted", "--list-sources").split()
    for network in (DEFAULT, STACK):
        assert {f"{network.net4}.0/24", f"{network.net6}::/64"} <= set(sources)
    open_before = baseline.open[bridged]
    trusted = [
        cell
        for cell in scene.cells(CELLS[POLICY])
        if cell.source in ("client", "front", "redis")
        and not cell.open
        # Link-local addresses are in no network of Podman's.
        and cell.target not in ("link", "peer")
    ]
    assert trusted and all(cell.connection in open_before for cell in trusted)
    bridge_calls(bridged)
    ready.enforce(POLICY, *scene.outside)
    check(scene, POLICY, open_before)
    note(refused=len(trusted))
