# SPDX-License-Identifier: GPL-2.0
"""Devices on top of a bridge whose packets br_netfilter has marked.

    client                     host                       container
    eth0 172.17.0.4  ---  br0 172.17.0.1  --- macvlan --- mv0 172.17.0.9

The mark that a packet passed PRE_ROUTING on the bridge goes with it into the namespace that a
macvlan device of the bridge was moved to. It has not passed PRE_ROUTING there: proven is that it
is judged, counted and traced in both. A VRF above the bridge has a PRE_ROUTING of its own: there
the packet is judged once for the bridge and once for the VRF.
"""

import socket
from collections.abc import Iterator

import pytest

from lib import control, module
from lib.netns import HOST, Namespace, created
from lib.poll import PATIENCE, until
from lib.topology import ADDRESSES, Published, bridge_calls, quiet
from lib.trace import TraceLine, Tracer

PORT = 5000
ADDRESS = {4: "172.17.0.9", 6: "fd00:17::9"}
ORDERS = ("ctrfw first", "br_netfilter first")


@pytest.fixture(params=ORDERS)
def net(request: pytest.FixtureRequest) -> Iterator[Published]:
    """A bridge with br_netfilter at work, loaded before or after ctrfw."""
    module.unload()
    if "br_netfilter" in module.names():
        module.remove("br_netfilter")
    if request.param == ORDERS[0]:
        module.load()
    HOST.run(["modprobe", "br_netfilter"])
    with Published(published=False) as network:
        if request.param == ORDERS[1]:
            module.load()
        bridge_calls(1)
        yield network


@pytest.fixture
def container(net: Published) -> Iterator[Namespace]:
    """A namespace with a macvlan device of the bridge."""
    with created("container") as (container,):
        quiet(container)
        HOST.ip(
            f"link add link br0 name mv0 netns {container.path} type macvlan mode bridge"
        )
        container.ip(
            "addr add 172.17.0.9/24 dev mv0",
            "addr add fd00:17::9/64 dev mv0 nodad",
            "link set mv0 up",
        )
        yield container


def traced(tracer: Tracer, hooks: int) -> list[TraceLine]:
    """The lines of one packet at so many hooks of PRE_ROUTING and LOCAL_IN."""
    found: list[TraceLine] = []

    def enough() -> bool:
        found.extend(line for line in tracer.lines() if line.dpt == PORT)
        return len(found) >= hooks

    until(enough, "the packet's lines")
    return found


def test_macvlan_of_a_bridge(net: Published, container: Namespace) -> None:
    """PRE_ROUTING of the container comes on top of that of the bridge."""
    tracer = Tracer()
    for version in (4, 6):
        source, target = ADDRESSES[version]["client"], ADDRESS[version]
        with container.udp(target, PORT) as sink, net.client.udp(source) as sock:
            # Neighbours are learnt first.
            sock.sendto(b"first", (target, PORT))
            sink.recv(10)
            control.trace(f"proto udp dport {PORT} hook pre_routing,local_in")
            tracer.skip()
            sock.sendto(b"x", (target, PORT))
            sink.recv(10)
            lines = traced(tracer, 3)
            assert [(line.host, line.hook, line.input) for line in lines] == [
                (True, "PRE_ROUTING", "br0"),
                (False, "PRE_ROUTING", "mv0"),
                (False, "LOCAL_IN", "mv0"),
            ]
            assert [line.physin for line in lines] == ["veth-cli", "-", "-"]
            # And a deny acts there.
            control.load_rules(
                f"deny proto udp dport {PORT} hook pre_routing netns container"
            )
            sock.sendto(b"x", (target, PORT))
            lines = traced(tracer, 2)
            assert [line.verdict for line in lines] == ["allow", "deny"]
        control.trace()
        control.load_rules()
    tracer.close()


@pytest.mark.parametrize("hook", ["pre_routing", "local_in"])
def test_rejected_behind_a_macvlan(
    net: Published, container: Namespace, hook: str
) -> None:
    """There the mark's port is none: the answer goes the way that the container's routes say."""
    for version in (4, 6):
        source, target = ADDRESSES[version]["client"], ADDRESS[version]
        with container.udp(target, PORT) as sink, net.client.udp(source) as sock:
            # Neighbours are learnt first.
            sock.sendto(b"first", (target, PORT))
            sink.recv(10)
        control.load_rules(
            f"reject proto tcp dport {PORT} hook {hook} netns {container.inode}",
            f"reject proto udp dport {PORT} hook {hook} netns {container.inode}",
        )
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with net.client.make_socket(family, kind) as sock:
                sock.settimeout(PATIENCE)
                with pytest.raises(ConnectionRefusedError):
                    sock.connect((target, PORT))
                    sock.send(b"hello")
                    sock.recv(10)
        assert [counter.packets for counter in control.counters()[:2]] == [1, 1]
        control.load_rules()


def test_bridge_in_a_vrf(net: Published) -> None:
    """The bridge's repetition is left out, the VRF's own passage is not."""
    try:
        HOST.ip("link add vrf0 type vrf table 10")
    except AssertionError:
        pytest.skip("this kernel has no VRF")
    try:
        HOST.ip("link set vrf0 up", "link set br0 master vrf0")
        tracer = Tracer()
        for version in (4, 6):
            source, target = (ADDRESSES[version][name] for name in ("client", "br0"))
            if version == 6:
                # Addresses of the other family go when a device changes its VRF.
                HOST.ip("addr replace fd00:17::1/64 dev br0 nodad")
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            with (
                HOST.make_socket(family, socket.SOCK_DGRAM) as sink,
                net.client.udp(source) as sock,
            ):
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"vrf0")
                sink.bind((target, PORT))
                sink.settimeout(PATIENCE)
                sock.sendto(b"first", (target, PORT))
                sink.recv(10)
                control.trace(
                    f"proto udp dport {PORT} hook pre_routing,local_in netns host"
                )
                tracer.skip()
                sock.sendto(b"x", (target, PORT))
                sink.recv(10)
                seen = [(line.hook, line.input) for line in traced(tracer, 3)]
                assert seen == [
                    ("PRE_ROUTING", "br0"),
                    ("PRE_ROUTING", "vrf0"),
                    ("LOCAL_IN", "vrf0"),
                ], version
            control.trace()
        tracer.close()
    finally:
        HOST.ip("link del vrf0")
