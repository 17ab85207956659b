# SPDX-License-Identifier: GPL-2.0
"""With an empty table everything is as it is without ctrfw."""

from collections.abc import Callable

import pytest

from engines.baseline import Baseline, all_cells, open_now, traffic
from engines.row import Row
from lib.scene import Scene


@pytest.mark.parametrize("bridged", [1, 0])
def test_who_reaches_whom(
    baseline: Baseline, scene: Scene, bridged: int, note: Callable[..., None]
) -> None:
    """The same connections are answered."""
    before = baseline.open[bridged]
    assert before
    now = open_now(scene, bridged, before)
    assert now == before
    note(tried=len(all_cells(scene)), answered=len(now))


def test_traffic(
    baseline: Baseline, scene: Scene, row: Row, note: Callable[..., None]
) -> None:
    """Names, fragments, full frames, streams and conntrack entries are the same."""
    now = traffic(scene, row)
    assert now == baseline.traffic
    assert "the same" in now.values()
    note(tried=len(now))
