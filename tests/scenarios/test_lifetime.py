# SPDX-License-Identifier: GPL-2.0
"""The first and the last packet of a namespace.

    sender                  router                   receiver
    eth0 10.3.0.2   ---   left 10.3.0.1
                          right 10.4.0.1   ---   eth0 10.4.0.2

A namespace that is being deleted goes on forwarding until its devices are gone, and a new one
may send as soon as it is there. With `default deny netns container` in force, nothing must come
through either.
"""

import errno
import socket
import time
from collections.abc import Callable

import pytest

from lib import control, module
from lib.background import Stop, running
from lib.netns import Namespace, created, up
from lib.packets import ether, ipv4
from lib.poll import until
from lib.topology import forwarding, quiet

MACS = {
    "left": "02:00:00:00:03:01",
    "right": "02:00:00:00:04:01",
    "receiver": "02:00:00:00:04:02",
}
PAYLOAD = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
FRAME = ether(
    MACS["left"], "02:00:00:00:03:02", ipv4("10.3.0.2", "10.4.0.2", 17, PAYLOAD)
)


def build_router(sender: Namespace, receiver: Namespace) -> Namespace:
    """A namespace that forwards between the two."""
    router = Namespace.create("router")
    quiet(router)
    forwarding(router)
    router.ip(
        f"link add left address {MACS['left']} type veth peer name eth0 netns {sender.path}",
        f"link add right address {MACS['right']} type veth "
        f"peer name eth0 address {MACS['receiver']} netns {receiver.path}",
        "addr add 10.3.0.1/24 dev left",
        "addr add 10.4.0.1/24 dev right",
        "link set left up",
        "link set right up",
        f"neigh replace 10.4.0.2 lladdr {MACS['receiver']} nud permanent dev right",
    )
    sender.ip("link set eth0 arp off up")
    receiver.ip("link set eth0 arp off up")
    return router


def blast(sender: Namespace) -> Callable[[Stop], int]:
    """Sends one frame over and over as soon as there is a device, until it is gone."""

    def work(stop: Stop) -> int:
        while not stop and "eth0" not in sender.links():
            pass
        with sender.packet("eth0", receive=False) as wire:
            while not stop:
                try:
                    wire.send(FRAME)
                except OSError as error:
                    if error.errno in (errno.ENXIO, errno.ENODEV):
                        break
                    # The device is not up yet, or the other end has no room just now.
                    assert error.errno in (errno.ENETDOWN, errno.ENOBUFS), error
                else:
                    stop.progress += 1
        return stop.progress

    return work


def arrived(tap: socket.socket) -> int:
    """How many of our packets have come out at the other end."""
    count = 0
    tap.setblocking(False)
    while True:
        try:
            frame = tap.recv(2048)
        except BlockingIOError:
            return count
        except OSError:
            # The device went down: what came before that is still to be read.
            continue
        count += frame[14:15] == b"\x45" and frame.endswith(PAYLOAD)


def take_down_a_router() -> int:
    """Deletes a router under a stream of packets; how many were sent while it went down."""
    control.load_rules("")
    with created("sender", "receiver") as (sender, receiver):
        router = build_router(sender, receiver)
        with (
            sender.packet("eth0", receive=False) as wire,
            receiver.packet("eth0") as tap,
        ):

            def forwards() -> bool:
                wire.send(FRAME)
                return arrived(tap) > 0

            until(forwards, "a packet comes through without a policy")
            control.load_rules("default deny netns container")
            arrived(tap)
            with running(blast(sender), forget=(router,)) as child:
                sent = child.stop_flag
                until(lambda: sent.progress > 100, "traffic")
                assert arrived(tap) == 0
                before = sent.progress
                router.delete()
                total = child.result()
            assert arrived(tap) == 0
            return total - before


def test_dying_router() -> None:
    """Not a single packet slips through while the namespace is taken down."""
    meanwhile = [take_down_a_router() for _ in range(5)]
    # There was traffic while they went down; not in each round, where CPUs are few and busy.
    assert sum(meanwhile) > 0, meanwhile


def test_newborn_namespaces() -> None:
    """A new namespace's very first packet is judged."""
    control.load_rules("default deny netns container")
    for number in range(100):
        netns = Namespace.create_bare(f"new{number}")
        up(netns, "lo")
        with netns.udp("127.0.0.1") as sock, pytest.raises(PermissionError):
            sock.sendto(b"x", ("127.0.0.1", 4000))
        netns.delete()


def test_newborn_router() -> None:
    """A router that comes up under a stream of packets lets none of them pass."""
    control.load_rules("default deny netns container")
    with created("sender", "receiver") as (sender, receiver):
        for _ in range(3):
            with running(blast(sender)) as child:
                router = build_router(sender, receiver)
                sent = child.stop_flag
                with receiver.packet("eth0") as tap:
                    until(lambda s=sent: s.progress > 100, "traffic through the router")
                    assert arrived(tap) == 0
                    router.delete()
                    child.result()
                    assert arrived(tap) == 0
            until(
                lambda: "eth0" not in sender.links() | receiver.links(),
                "the router is gone",
            )


def test_born_while_the_module_loads() -> None:
    """Namespaces that come while insmod goes through those that are there: none is left out."""

    def bear(stop: Stop) -> int:
        wrong = 0
        alive: list[Namespace] = []
        while not stop or not module_is_ready():
            alive.append(Namespace.create_bare("new"))
            time.sleep(0)
            if len(alive) > 20:
                alive.pop(0).delete()
        for netns in alive:
            up(netns, "lo")
            with netns.udp("127.0.0.1") as sock:
                try:
                    sock.sendto(b"x", ("127.0.0.1", 4000))
                    wrong += 1
                except PermissionError:
                    pass
        return wrong

    for _ in range(5):
        module.unload()
        with running(bear) as bearing:
            time.sleep(0.05)
            module.load()
            control.load_rules("default deny netns container")
            assert bearing.finish() == 0


def module_is_ready() -> bool:
    """Whether the policy is in force."""
    return control.RULES.exists() and bool(control.rules())


def test_namespace_made_before_insmod() -> None:
    """A namespace that is older than the module is under its policy from the load on."""
    module.unload()
    with created("old") as (old,), old.udp("127.0.0.1") as sock:
        sock.sendto(b"x", ("127.0.0.1", 4000))
        module.load()
        control.load_rules("default deny netns container")
        with pytest.raises((PermissionError, ConnectionRefusedError)) as caught:
            sock.sendto(b"x", ("127.0.0.1", 4000))
            sock.sendto(b"x", ("127.0.0.1", 4000))
        assert caught.type is PermissionError
