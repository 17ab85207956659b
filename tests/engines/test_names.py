# SPDX-License-Identifier: GPL-2.0
"""Names are resolved behind the policies, wherever the engine's resolver is."""

from collections.abc import Callable

import pytest

from engines.baseline import QUESTIONS, Baseline, asks
from engines.row import Row
from lib import control, ready
from lib.scene import Scene

# Of a project that keeps to itself, nobody asks for others.
ASKED = {"lan-lockdown": QUESTIONS, "compose-project": QUESTIONS[:1]}


@pytest.mark.parametrize("policy", ASKED)
def test_names(
    baseline: Baseline, scene: Scene, row: Row, policy: str, note: Callable[..., None]
) -> None:
    """names, once a policy lets containers ask a resolver at their bridge's address: as without it"""
    ready.enforce(policy, *scene.outside)
    if policy in row.opened:
        assert row.resolve(*ASKED[policy][0]) == "no answer"
        control.load_rules(row.opened[policy], append=True)
    for box, name in ASKED[policy]:
        answer = row.resolve(box, name)
        assert answer == baseline.traffic[asks(box, name)] != "no answer"
    note(resolved=len(ASKED[policy]))
