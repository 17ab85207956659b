# SPDX-License-Identifier: GPL-2.0
"""`audit`: what a rule would refuse is counted, and goes on.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Proven, for both families: a packet that such a rule matches is counted by the rule and, once, as
"would_drop" of its hook; then the next rule is asked, as if there had been none.
"""

from collections.abc import Iterator

import pytest

from lib import control
from lib.control import SENTINEL_RULE, HookStatus, Status
from lib.netns import HOST
from lib.packets import ipv4, ipv6
from lib.topology import Routed

COUNT = 20
PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
C4, H4, S4 = "10.1.0.2", "10.1.0.1", "10.2.0.2"
C6, H6, S6 = "fd00:1::2", "fd00:1::1", "fd00:2::2"


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def datagrams(version: int, to_host: bool = False) -> list[bytes]:
    """Datagrams for port 7, of the server or of the host."""
    if version == 4:
        return [ipv4(C4, H4 if to_host else S4, 17, PORTS) for _ in range(COUNT)]
    # Without a checksum IPv6 takes none.
    return [ipv6(C6, H6 if to_host else S6, 17, PORTS) for _ in range(COUNT)]


def pass_by(net: Routed, hook: str, version: int) -> None:
    """Has COUNT packets pass a hook of the host, all of them."""
    client = C4 if version == 4 else C6
    if hook == "local_out":
        assert all(net.sends(HOST, client) for _ in range(COUNT))
    elif hook == "local_in":
        # Whether a socket takes them is no matter of ours.
        net.accepted(*datagrams(version, to_host=True))
    else:
        assert all(net.forwarded(*datagrams(version)))


def changes(before: Status) -> dict[str, HookStatus]:
    """What has been counted since, by hook."""
    after = Status.read()
    return {hook: after.hooks[hook] - before.hooks[hook] for hook in control.HOOKS}


def packets() -> list[int]:
    """What each statement has counted."""
    return [counter.packets for counter in control.counters()]


@pytest.mark.parametrize("hook", control.HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_would_drop(net: Routed, version: int, hook: str) -> None:
    """What is audited passes, and is counted: by the rule, and at the hook."""
    control.load_rules(SENTINEL_RULE, f"audit proto udp dport 7 hook {hook} netns host")
    before = Status.read()
    pass_by(net, hook, version)
    counted = changes(before)
    assert packets()[1] == COUNT
    for name, change in counted.items():
        assert change.dropped == 0
        assert change.would_drop == (COUNT if name == hook else 0), name


@pytest.mark.parametrize("version", [4, 6])
def test_the_walk_goes_on(net: Routed, version: int) -> None:
    """Several that audit count one packet once at the hook; who comes behind them decides."""
    control.load_rules(
        SENTINEL_RULE,
        "audit proto udp dport 7 hook forward netns host",
        "audit in cl0 out srv0 proto udp hook forward",
        "audit proto tcp",
        "allow proto udp hook forward netns host",
        "audit hook forward netns host proto udp",
    )
    before = Status.read()
    assert all(net.forwarded(*datagrams(version)))
    assert packets()[1:6] == [COUNT, COUNT, 0, COUNT, 0]
    forward = changes(before)["forward"]
    assert (forward.dropped, forward.would_drop) == (0, COUNT)


@pytest.mark.parametrize(
    "refusal", ["deny", "reject", "default deny", "default reject"]
)
def test_audited_and_refused(net: Routed, refusal: str) -> None:
    """A rule that audits saves nothing from the refusal behind it: both are counted."""
    control.load_rules(
        SENTINEL_RULE, "audit proto udp dport 7 hook forward", f"{refusal} hook forward"
    )
    before = Status.read()
    assert not any(net.forwarded(*datagrams(4)))
    forward = changes(before)["forward"]
    assert (forward.dropped, forward.would_drop) == (COUNT, COUNT)
    assert packets()[1:3] == [COUNT, COUNT]


def test_nothing_else_in_the_table(net: Routed) -> None:
    """Where nothing decides, all is allowed, and counted so."""
    control.load_rules("audit proto udp dport 7 hook forward netns host")
    before = packets()[-1]
    assert all(net.forwarded(*datagrams(4)))
    assert packets()[0] == COUNT
    # Each also passes the hooks where the rule does not hold, and the sentinel everywhere.
    assert packets()[-1] - before >= 3 * COUNT


def test_doubt(net: Routed) -> None:
    """What cannot be parsed would be refused, a later fragment would not."""
    cut = ipv4(C4, S4, 6, PORTS[:3])
    later = ipv4(C4, S4, 17, PORTS, offset=1480)
    control.load_rules(
        SENTINEL_RULE,
        "audit proto tcp dport 22 hook pre_routing netns host",
        "audit proto udp dport 7 hook pre_routing netns host",
    )
    before = Status.read()
    net.forwarded(cut, later)
    assert packets()[1:3] == [1, 0]
    assert changes(before)["pre_routing"].would_drop == 1


def test_counters_are_kept(net: Routed) -> None:
    """`>>` keeps what such a rule has counted."""
    control.load_rules(SENTINEL_RULE, "audit proto udp dport 7 hook forward")
    net.forwarded(*datagrams(4))
    control.load_rules("audit proto tcp", append=True)
    net.forwarded(*datagrams(4))
    assert packets()[1:3] == [2 * COUNT, 0]
    assert control.rules()[1:] == [
        "audit proto udp dport 7 hook forward",
        "audit proto tcp",
    ]
