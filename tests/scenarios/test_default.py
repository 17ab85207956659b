# SPDX-License-Identifier: GPL-2.0
"""`default` statements: what happens to packets that no rule means.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Proven: a default holds only where no rule matches and only in its scope; of several the one with
the narrowest scope decides, a namespace's number before `host` and `container`, those before
none, a hook before none; without any, packets are allowed.
"""

from collections.abc import Iterator

import pytest

from lib import control
from lib.control import SENTINEL_RULE
from lib.netns import HOST
from lib.packets import ipv4
from lib.topology import Routed

PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
THROUGH = ipv4("10.1.0.2", "10.2.0.2", 17, PORTS)
TO_HOST = ipv4("10.1.0.2", "10.1.0.1", 17, PORTS)

# Defaults (CLIENT stands for the client's inode number) -> what still works:
# t: through the host, i: into the host, o: out of the host, c: out of the client
CASES = {
    "": "tioc",
    "default allow": "tioc",
    "default deny": "",
    "default deny hook forward": "ioc",
    "default deny hook local_in": "toc",
    "default deny hook input,output": "t",
    "default deny hook local_out": "ti",
    "default deny netns host": "c",
    "default deny netns container": "tio",
    "default deny netns CLIENT": "tio",
    "default deny netns host hook local_in": "toc",
    "default deny hook local_out netns CLIENT": "tio",
    # The narrower one decides, in whatever order they stand.
    "default deny; default allow netns host": "tio",
    "default allow netns host; default deny": "tio",
    "default allow; default deny netns container": "tio",
    "default deny; default allow hook local_out netns CLIENT": "",
    "default deny netns container; default allow netns CLIENT": "tioc",
    "default deny netns host; default allow netns host hook pre_routing,local_in": "ic",
    "default deny; default allow hook pre_routing,forward,post_routing": "t",
    # A namespace weighs more than a hook.
    "default allow hook local_out; default deny netns container": "tio",
    "default deny hook local_out; default allow netns container": "tic",
    # What a rule means, no default decides.
    "allow proto udp dport 7; default deny": "tioc",
    "deny proto udp dport 7 hook forward; default allow": "ioc",
    "allow proto udp dport 8; default deny": "",
    "allow in cl0; default deny netns host": "tic",
}


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all cases."""
    with Routed() as network:
        yield network


@pytest.mark.parametrize("statements", CASES, ids=lambda s: s or "none")
def test_default(net: Routed, statements: str) -> None:
    """A set of defaults, and which journeys of one kind of packet it leaves open."""
    lines = [line for line in statements.split("; ") if line]
    lines = [line.replace("CLIENT", str(net.client.inode)) for line in lines]
    control.load_rules(SENTINEL_RULE, *lines)
    works = {
        "t": net.forwarded(THROUGH) == [True],
        "i": net.accepted(TO_HOST) == 1,
        "o": net.sends(HOST, "10.1.0.2"),
        "c": net.sends(net.client, "10.1.0.1"),
    }
    assert "".join(key for key, value in works.items() if value) == CASES[statements]


def test_default_goes_with_its_table(net: Routed) -> None:
    """A new table without a default forgets the old one's."""
    control.load_rules(SENTINEL_RULE, "default deny")
    assert net.forwarded(THROUGH) == [False]
    control.load_rules(SENTINEL_RULE)
    assert net.forwarded(THROUGH) == [True]


def test_default_can_be_added(net: Routed) -> None:
    """`>>` adds a default to the table in force."""
    control.load_rules(SENTINEL_RULE, "allow proto tcp")
    control.load_rules("default deny hook forward", append=True)
    assert net.forwarded(THROUGH) == [False]
    assert control.rules() == [
        SENTINEL_RULE,
        "allow proto tcp",
        "default deny hook forward",
    ]
    # One for the same scope takes its place.
    control.load_rules("default allow hook forward", append=True)
    assert net.forwarded(THROUGH) == [True]
    assert control.rules() == [
        SENTINEL_RULE,
        "allow proto tcp",
        "default allow hook forward",
    ]
