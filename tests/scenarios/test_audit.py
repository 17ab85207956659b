# SPDX-License-Identifier: GPL-2.0
"""`audit` and `mode audit`: what would be refused is counted, and goes on.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Proven, for both families: a packet that such a rule matches is counted by the rule and, once, as
"would_drop" of its hook; then the next rule is asked, as if there had been none. In mode audit
that goes for all that the table refuses, and status, trace and the kernel's log say so.
"""

import socket
from collections.abc import Iterator

import pytest

from lib import control, kmsg, module
from lib.control import SENTINEL_RULE, HookStatus, Status
from lib.netns import HOST
from lib.packets import datagram, ipv4
from lib.poll import until
from lib.topology import Routed
from lib.trace import TraceLine, Tracer

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
    source, host, server = (C4, H4, S4) if version == 4 else (C6, H6, S6)
    return [datagram(source, host if to_host else server, 7) for _ in range(COUNT)]


def pass_by(net: Routed, hook: str, version: int) -> None:
    """Has COUNT packets pass a hook of the host, all of them."""
    client = C4 if version == 4 else C6
    if hook == "local_out":
        assert all(net.sends(HOST, client) for _ in range(COUNT))
    elif hook == "local_in":
        assert net.accepted(*datagrams(version, to_host=True)) == COUNT
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


REFUSALS = {
    "deny": "deny proto udp dport 7 hook {} netns host",
    "reject": "reject proto udp dport 7 hook {} netns host",
    "default deny": "default deny hook {} netns host",
    "default reject": "default reject with icmp-host-prohibited hook {} netns host",
}
WARNING = "ctrfw: mode audit: NOTHING IS ENFORCED, refusals are only counted"


@pytest.mark.parametrize("hook", control.HOOKS)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_mode_audit(net: Routed, refusal: str, version: int, hook: str) -> None:
    """Nothing that would be refused is, at no hook; all of it is counted."""
    statement = REFUSALS[refusal].format(hook)
    control.load_rules("mode audit", SENTINEL_RULE, statement)
    before = Status.read()
    with net.client.packet("eth0") as wire:
        pass_by(net, hook, version)
        answers = icmp_errors(wire)
    counted = changes(before)
    assert packets()[1] >= COUNT
    assert sum(change.dropped for change in counted.values()) == 0
    for name, change in counted.items():
        if name == hook and refusal.startswith("default"):
            # It means everything, reports of multicast groups too.
            assert change.would_drop >= COUNT
        else:
            assert change.would_drop == (COUNT if name == hook else 0), name
    assert answers == 0
    # And in earnest, the same table does as it says.
    control.load_rules("mode enforce", append=True)
    if hook in ("pre_routing", "forward", "post_routing"):
        assert not any(net.forwarded(*datagrams(version)))
    elif hook == "local_out":
        assert not net.sends(HOST, C4 if version == 4 else C6)
    else:
        assert net.accepted(*datagrams(version, to_host=True)) == 0


def icmp_errors(wire: socket.socket) -> int:
    """How many "host prohibited" or "port unreachable" have come, of those that a rule can name.

    The host's own "port unreachable" for a port where nobody listens is among them; no test here
    sends to such a port.
    """
    count = 0
    wire.setblocking(False)
    while True:
        try:
            packet = wire.recv(4096)[14:]
        except BlockingIOError:
            return count
        if packet[0] >> 4 == 4:
            count += packet[9] == 1 and packet[20] == 3
        else:
            count += packet[6] == 58 and packet[40] == 1


def test_mode_audit_and_the_verb(net: Routed) -> None:
    """A packet that is audited and would be refused is counted once at its hook."""
    control.load_rules(
        "mode audit",
        SENTINEL_RULE,
        "audit proto udp dport 7 hook forward",
        "deny proto udp dport 7 hook forward",
    )
    before = Status.read()
    assert all(net.forwarded(*datagrams(4)))
    forward = changes(before)["forward"]
    assert (forward.dropped, forward.would_drop) == (0, COUNT)
    assert packets()[1:3] == [COUNT, COUNT]


def test_status_and_log() -> None:
    """The status says what the mode is, and the log when such a table is loaded."""
    with kmsg.Kmsg() as log:
        control.load_rules("deny")
        status = Status.read()
        assert (status.mode, status.warning) == ("enforce", None)
        assert WARNING not in log.texts()
        control.load_rules("deny", "mode audit")
        status = Status.read()
        assert status.mode == "audit"
        assert status.warning and "NOTHING IS ENFORCED" in status.warning
        warnings = [record for record in log.records() if record.text == WARNING]
        assert [record.level for record in warnings] == [4]
        assert control.rules() == ["mode audit", "deny"]
        assert status.rules == 1
        # A text that is refused changes nothing, and says nothing of the mode.
        with pytest.raises(OSError):
            control.load_rules("mode enforce", "nonsense")
        assert (Status.read().mode, log.texts().count(WARNING)) == ("audit", 0)
        control.load_rules("mode enforce", "deny")
        status = Status.read()
        assert (status.mode, status.warning) == ("enforce", None)
        assert control.rules() == ["deny"]
        assert WARNING not in log.texts()
    # With nothing else in it, too.
    control.load_rules("mode audit")
    assert (Status.read().mode, Status.read().rules) == ("audit", 0)
    assert control.rules() == ["mode audit"]
    control.load_rules()
    assert (Status.read().mode, control.rules()) == ("enforce", [])


def test_mode_and_addition(net: Routed) -> None:
    """`>>` leaves the mode as it is, unless it says another."""
    with kmsg.Kmsg() as log:
        control.load_rules("mode audit", "deny proto udp dport 7 hook forward")
        control.load_rules("deny proto tcp dport 9", append=True)
        assert Status.read().mode == "audit"
        assert log.texts().count(WARNING) == 2
        assert all(net.forwarded(*datagrams(4)))
        control.load_rules("mode enforce", append=True)
        assert (Status.read().mode, log.texts().count(WARNING)) == ("enforce", 0)
    lines = ["deny proto udp dport 7 hook forward", "deny proto tcp dport 9"]
    assert control.rules() == lines
    assert not any(net.forwarded(*datagrams(4)))
    # The counters go on.
    assert packets()[0] == 2 * COUNT
    control.load_rules("mode audit", append=True)
    assert control.rules() == ["mode audit", *lines]
    # What is read is loaded back.
    text = control.RULES.read_text()
    control.write(control.RULES, text)
    assert control.RULES.read_text() == text


def test_mode_goes_with_the_module() -> None:
    """A module that comes anew enforces."""
    control.load_rules("mode audit", "deny")
    module.unload()
    module.load()
    assert (Status.read().mode, Status.read().warning) == ("enforce", None)


def test_trace(net: Routed, tracer: Tracer) -> None:
    """The trace says what would become of a packet."""
    control.load_rules(
        "mode audit",
        "deny proto udp dport 7 hook pre_routing netns host",
        "reject with icmp-host-prohibited proto udp dport 7 hook forward netns host",
        "allow proto udp dport 7",
    )
    control.trace("netns host proto udp dport 7")
    net.inject(*datagrams(4)[:1])
    lines: list[TraceLine] = []
    until(lambda: lines.extend(tracer.lines()) or len(lines) == 3, "three lines")
    assert [(line.hook, line.verdict, line.rule) for line in lines] == [
        ("PRE_ROUTING", "would-deny", "1"),
        ("FORWARD", "would-reject", "2"),
        ("POST_ROUTING", "allow", "3"),
    ]
