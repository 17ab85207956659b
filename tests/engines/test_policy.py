# SPDX-License-Identifier: GPL-2.0
"""The ready policies do what they say."""

from collections.abc import Callable

import pytest

from engines.baseline import Baseline
from engines.check import check
from lib import ready
from lib.scene import Scene
from lib.topology import bridge_calls


@pytest.mark.parametrize("bridged", [1, 0])
@pytest.mark.parametrize("policy", ready.TABLES)
def test_policy(
    baseline: Baseline,
    scene: Scene,
    policy: str,
    bridged: int,
    note: Callable[..., None],
) -> None:
    """What it allows is answered, if it was without ctrfw; what it refuses never is."""
    bridge_calls(bridged)
    ready.enforce(policy, *scene.outside)
    note(**check(scene, policy, baseline.open[bridged]))
