# SPDX-License-Identifier: GPL-2.0
"""The policies hold for every single packet while engine and firewalls change what is theirs."""

from collections.abc import Callable

from engines.baseline import open_now
from engines.check import check
from engines.row import Row
from lib import control, ready
from lib.poll import until
from lib.scene import Scene
from lib.stream import Flow, streaming
from lib.topology import bridge_calls

# The lock-down lets none of these through.
FORBIDDEN = (
    ("client", "web", "web"),
    ("client", "host", "docker0"),
    ("client", "host", "lan0"),
    ("client", "lan", "lan"),
    ("client", "front", "front"),
    ("front", "db", "db"),
    ("front", "host", "br-stack"),
    ("mac", "lan", "lan"),
    ("ipv", "lan", "side"),
    ("vault", "safe", "safe"),
)
# How many packets are sent before and behind a disturbance, of each flow
ENOUGH = 60


def flows(scene: Scene) -> list[Flow]:
    """Those that there are here."""
    return [
        Flow(source, target, address)
        for source, target, name in FORBIDDEN
        if source in scene.places and target in scene.places
        for version, address in scene.addresses[name].items()
        if version in scene.addresses[source]
    ]


def test_disturbed(
    scene: Scene, row: Row, disturbance: str, note: Callable[..., None]
) -> None:
    """None gets through meanwhile; and afterwards who reaches whom is what the policies say."""
    bridge_calls(1)
    tried = flows(scene)
    enough = ENOUGH * len(tried)
    # Without a policy, they arrive: that none does later says something.
    with streaming(tried, scene.places) as stream:
        until(lambda: stream.stop_flag.progress > enough, "all are tried")
        arrived = stream.finish()
        arrived.pop("sent")
        assert arrived
    ready.enforce("lan-lockdown", *scene.outside)
    with streaming(tried, scene.places) as stream:
        until(lambda: stream.stop_flag.progress > enough, "all are tried")
        getattr(row, disturbance)(scene)
        end = stream.stop_flag.progress + enough
        until(lambda: stream.stop_flag.progress > end, "all are tried again")
        result = stream.finish()
    # Also from and to what is new.
    tried = flows(scene)
    with streaming(tried, scene.places) as stream:
        until(lambda: stream.stop_flag.progress > enough, "all are tried")
        later = stream.finish()
    sent = result.pop("sent") + later.pop("sent")
    assert not result and not later
    scene.serve()
    control.load_rules()
    before = open_now(scene, 1)
    total = {
        "sent": sent,
        "flows": len(arrived),
        "tried": 0,
        "allowed": 0,
        "refused": 0,
    }
    for policy in ready.TABLES:
        ready.enforce(policy, *scene.outside)
        for name, figure in check(scene, policy, before).items():
            total[name] += figure
    note(**total)
