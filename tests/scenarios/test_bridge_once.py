# SPDX-License-Identifier: GPL-2.0
"""Packets that br_netfilter sends through PRE_ROUTING twice.

    client                     host                          ext
    eth0 172.17.0.4  ---  br0 172.17.0.1,  ext0  ---  eth0 192.0.2.2

With bridge-nf-call-*tables=1 a packet to the bridge's own address, or routed by it, passes
PRE_ROUTING once as a bridged packet and once more when it comes up to IP. br_netfilter's
`ip_sabotage_in` catches the second time, but has the same priority as our hooks: whether it
comes before them depends on which was registered first.

Proven, for every order in which ctrfw is loaded, br_netfilter is loaded and the bridge is made:
such a packet is judged, counted and traced once at PRE_ROUTING.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lib import control, module
from lib.netns import HOST, Namespace
from lib.poll import until
from lib.topology import ADDRESSES, Published, bridge_calls
from lib.trace import Tracer

PORT = 5000
LOCAL = ["PRE_ROUTING", "LOCAL_IN"]
ROUTED = ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]


@pytest.fixture(
    params=list(itertools.permutations(("ctrfw", "br_netfilter", "bridge"))),
    ids=" ".join,
)
def net(request: pytest.FixtureRequest) -> Iterator[Published]:
    """The network, set up in one of the six orders."""
    module.unload()
    if "br_netfilter" in module.names():
        module.remove("br_netfilter")
    with ExitStack() as stack:
        network: Published | None = None
        for step in request.param:
            if step == "ctrfw":
                module.load()
            elif step == "br_netfilter":
                HOST.run(["modprobe", "br_netfilter"])
            else:
                network = stack.enter_context(Published(published=False))
        assert network
        bridge_calls(1)
        yield network


def test_once(net: Published) -> None:
    """Each kind of packet, over IPv4 and IPv6, is seen once at each hook of the host."""
    tracer = Tracer()
    for version, target, path in itertools.product(
        (4, 6), ("br0", "ext"), (LOCAL, ROUTED)
    ):
        if (target == "br0") != (path is LOCAL):
            continue
        address = ADDRESSES[version][target]
        receiver: Namespace = HOST if target == "br0" else net.ext
        source = ADDRESSES[version]["client"]
        with receiver.udp(address, PORT) as sink, net.client.udp(source) as sock:
            # Neighbours are learnt first.
            sock.sendto(b"first", (address, PORT))
            sink.recv(10)
            control.load_rules(
                f"allow proto udp dport {PORT} hook pre_routing netns host",
                f"allow proto udp dport {PORT} netns host",
            )
            control.trace(f"proto udp dport {PORT} netns host")
            tracer.skip()
            sock.sendto(b"x", (address, PORT))
            sink.recv(10)
        lines = tracer.lines()
        assert [line.hook for line in lines] == path, (version, target)
        assert [line.rule for line in lines] == ["1"] + ["2"] * (len(path) - 1)
        assert lines[0].physin == "veth-cli", (
            "the first of the two passes is the one that counts"
        )
        pre_routing, others, _ = control.counters()
        assert pre_routing.packets == 1
        assert others.packets == len(path) - 1
        # And the first of the two passes is where a deny acts.
        before = control.Status.read().hooks["pre_routing"]
        control.load_rules(f"deny proto udp dport {PORT} netns host")
        with net.client.udp(source) as sock:
            sock.sendto(b"x", (address, PORT))
        (line,) = until(tracer.lines, "the packet's line")
        assert (line.hook, line.verdict) == ("PRE_ROUTING", "deny")
        after = control.Status.read().hooks["pre_routing"]
        assert (after - before).dropped == 1
        control.trace()
        control.load_rules()
    tracer.close()
