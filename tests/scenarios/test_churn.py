# SPDX-License-Identifier: GPL-2.0
"""rmmod under traffic, while namespaces come and go and somebody holds a file open.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

Afterwards: the module works, counts its namespaces right, and nothing holds a namespace or a
device that should be gone.

Empty nft chains keep netfilter's static keys on all the while: QEMU without KVM, running several
CPUs, at times executes the breakpoint by which the kernel patches its own code after it has been
taken away again ("Oops: int3" in ip_local_deliver; adding and deleting an nft table under traffic
does it without ctrfw). For the same reason the trace, whose own key that would be, is turned on
and off under traffic everywhere but there.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

import pytest

from lib import control, module, nft
from lib.background import Stop, running
from lib.control import SENTINEL_PORT, SENTINEL_RULE, Status
from lib.netns import HOST, Namespace, alive, put, up
from lib.packets import ether, ipv4, ipv6
from lib.poll import until
from lib.topology import Routed

ROUNDS = 30
PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
SENTINEL = bytes([0, 1, 0, SENTINEL_PORT, 0, 8, 0, 0])


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    chains = (
        f"chain {name} {{ type filter hook {hook} priority 0; }}\n"
        for name, hook in nft.HOOKS.items()
    )
    with Routed() as network:
        nft.load(f"table inet keys {{\n{''.join(chains)}}}\n")
        yield network
        nft.flush()


def traffic(net: Routed) -> Callable[[Stop], int]:
    """Packets of both families through the host and into it, as fast as it goes."""

    def work(stop: Stop) -> int:
        packets = [
            ipv4("10.1.0.2", "10.2.0.2", 17, PORTS),
            ipv6("fd00:1::2", "fd00:2::2", 17, PORTS),
            ipv4("10.1.0.2", "10.1.0.1", 253, PORTS),
            ipv4("10.1.0.2", "10.2.0.2", 17, SENTINEL),
        ]
        frames = [ether(net.HOST_MAC, net.CLIENT_MAC, packet) for packet in packets]
        count = 0
        with net.client.packet("eth0", receive=False) as wire:
            while not stop:
                count += sum(put(wire, frame) for frame in frames)
                stop.progress = count
        return count

    return work


def churn(stop: Stop) -> int:
    """Namespaces that live for a packet or two."""
    count = 0
    while not stop:
        netns = Namespace.create_bare("short")
        up(netns, "lo")
        with contextlib.suppress(PermissionError), netns.udp("127.0.0.1") as sock:
            sock.sendto(b"x", ("127.0.0.1", 4000))
        netns.delete()
        count += 1
        stop.progress = count
    return count


def test_rmmod_under_traffic(net: Routed, tell: Callable[[str], None]) -> None:
    """insmod and rmmod go on for a while in the midst of everything."""
    with running(traffic(net)) as sending, running(churn) as churning:
        for _ in range(ROUNDS):
            module.unload()
            module.load()
            control.load_rules(
                SENTINEL_RULE, "deny dport 7 hook forward", "deny proto 253"
            )
            before = Status.read()
            files = [os.open(path, os.O_RDONLY) for path in control.FILES]
            files.append(os.open(control.RULES, os.O_WRONLY | os.O_TRUNC))
            os.write(files[-1], b"deny\n")
            until(
                lambda b=before: Status.read().dropped > b.dropped, "traffic is judged"
            )
            module.unload()
            for fd in files:
                with pytest.raises(OSError) as caught:
                    os.read(fd, 1) if fd != files[-1] else os.write(fd, b"deny\n")
                assert caught.value.errno == errno.EIO
                os.close(fd)
            module.load()
            # What was being written when the module went is nobody's policy now.
            assert control.rules() == []
        for child, some in ((sending, 100), (churning, 10)):
            until(lambda c=child, s=some: c.stop_flag.progress > s, "all are at work")
        packets, namespaces = sending.finish(), churning.finish()
    tell(f"{2 * ROUNDS} loads, {packets} packets, {namespaces} namespaces")
    # All namespaces that are gone are gone for the module, too.
    until(
        lambda: Status.read().namespaces == alive(),
        "only those that are alive are counted",
    )
    control.load_rules(SENTINEL_RULE, "deny dport 7")
    assert net.forwarded(ipv4("10.1.0.2", "10.2.0.2", 17, PORTS)) == [False]
    for netns, address in (
        (HOST, "10.1.0.2"),
        (net.client, "10.1.0.1"),
        (net.server, "10.2.0.1"),
    ):
        assert not net.sends(netns, address)


def test_nothing_holds_a_namespace(net: Routed) -> None:
    """Namespaces with devices, packets judged and traced in them, go when they are deleted."""
    control.load_rules(
        SENTINEL_RULE, "deny proto udp dport 7", "default deny netns container"
    )
    control.trace("netns container")
    for number in range(5):
        netns = Namespace.create("short")
        peer = f"short{number}"
        HOST.ip(f"link add {peer} type veth peer name eth0 netns {netns.path}")
        netns.ip("addr add 192.0.2.1/24 dev eth0", "link set eth0 arp off up")
        for address in ("192.0.2.2", "127.0.0.1"):
            assert not net.sends(netns, address)
        netns.delete()
    # The host's end of a veth goes with the other one: only when its namespace is really gone.
    until(
        lambda: not {name for name in HOST.links() if "short" in name},
        "the veths are gone",
    )


def test_rules_and_rmmod(net: Routed) -> None:
    """Writers and readers are at work when the module goes."""

    def write(stop: Stop) -> int:
        count = 0
        lines = [f"deny from 192.0.2.{i} dport 7" for i in range(200)]
        while not stop:
            with contextlib.suppress(OSError):
                control.load_rules(*lines)
                control.RULES.read_text()
                if not module.TCG:
                    control.trace("proto udp dport 7")
                    control.trace()
                count += 1
        return count

    with (
        running(write) as first,
        running(write) as second,
        running(traffic(net)) as sending,
    ):
        for _ in range(ROUNDS):
            until(lambda: module_is_busy(), "a table is there")
            module.unload()
            module.load(trace_rate=10, trace_burst=10)
        counts = first.finish(), second.finish(), sending.finish()
    assert all(count > 0 for count in counts)


def module_is_busy() -> bool:
    """Whether somebody has loaded a table."""
    return Status.read().generation > 0
