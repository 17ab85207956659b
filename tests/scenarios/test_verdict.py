# SPDX-License-Identifier: GPL-2.0
"""A verdict beside other rule sets: deny is final, allow is "no objection".

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
                         nft rules here
"""

from collections.abc import Iterator

import pytest

from lib import control, nft
from lib.control import SENTINEL_PORT, SENTINEL_RULE
from lib.packets import ipv4, ipv6
from lib.topology import Routed

PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
PACKETS = {
    4: ipv4("10.1.0.2", "10.2.0.2", 17, PORTS),
    6: ipv6("fd00:1::2", "fd00:2::2", 17, PORTS),
}
ACCEPT = """
table inet host { chain early { type filter hook prerouting priority -2147483647; accept; };
                  chain forward { type filter hook forward priority 0; accept; }; }
"""
DROP = """
table inet host { chain forward { type filter hook forward priority 0; udp dport 7 drop; }; }
"""

NEXT = f"""
table inet next {{
  counter denied {{ }}
  counter allowed {{ }}
  chain prerouting {{
    type filter hook prerouting priority {nft.AFTER_CTRFW};
    udp dport 7 counter name denied
    udp dport {SENTINEL_PORT} counter name allowed
  }}
}}
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


@pytest.fixture(autouse=True)
def no_nft_rules() -> Iterator[None]:
    """Each test begins and ends without nft rules."""
    yield
    nft.flush()


@pytest.mark.parametrize("version", [4, 6])
def test_allow_is_not_final(net: Routed, version: int) -> None:
    """What ctrfw allows, nft may still drop."""
    control.load_rules("allow")
    assert net.forwarded(PACKETS[version]) == [True]
    nft.load(DROP)
    assert net.forwarded(PACKETS[version]) == [False]


@pytest.mark.parametrize("version", [4, 6])
def test_deny_is_final(net: Routed, version: int) -> None:
    """What ctrfw denies, no nft rule brings back."""
    nft.load(ACCEPT)
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 7 hook forward")
    assert net.forwarded(PACKETS[version]) == [False]
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 7 hook pre_routing")
    assert net.forwarded(PACKETS[version]) == [False]


def test_flush_ruleset_changes_nothing(net: Routed) -> None:
    """`nft flush ruleset` leaves the policy in force."""
    nft.load(ACCEPT)
    control.load_rules(SENTINEL_RULE, "deny proto udp dport 7")
    nft.flush()
    assert net.forwarded(PACKETS[4]) == [False]


def test_ctrfw_comes_first(net: Routed) -> None:
    """A chain at the next priority does not see what ctrfw denies, and sees what it allows."""
    nft.load(NEXT)
    control.load_rules(
        SENTINEL_RULE, "deny proto udp dport 7 hook pre_routing netns host"
    )
    assert net.forwarded(*[PACKETS[4]] * 3) == [False] * 3
    assert nft.counters("next") == {"denied": 0, "allowed": 1}
