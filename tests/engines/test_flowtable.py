# SPDX-License-Identifier: GPL-2.0
"""A flowtable takes established flows past the host's hooks: what that means for a policy."""

import socket

from engines.baseline import Baseline
from lib import control
from lib.netns import HOST
from lib.poll import until
from lib.scene import Scene

PORT = 9011


def test_flowtable(baseline: Baseline, scene: Scene) -> None:
    """what is in the flowtable goes on until it ends there; new flows, and the containers' own hooks, obey at once"""
    source, target = scene.places["client"], scene.places["ext"]
    address = scene.addresses["ext"][4]
    with (
        target.udp(address, PORT) as peer,
        source.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):

        def talk() -> None:
            sock.sendto(b"x", (address, PORT))
            _, back = peer.recvfrom(10)
            peer.sendto(b"y", back)
            sock.settimeout(30)
            assert sock.recv(10) == b"y"

        def offloaded() -> bool:
            talk()
            entries = HOST.run(["conntrack", "-L", "-p", "udp"], check=False)
            return any(
                f"dport={PORT}" in line and "[OFFLOAD]" in line
                for line in entries.splitlines()
            )

        until(offloaded, "the flow is in the flowtable")
        # The host's hooks do not see it any more,
        control.load_rules(f"deny proto udp dport {PORT} netns host")
        talk()
        # but those of the container do,
        control.load_rules(f"deny proto udp dport {PORT} netns container")
        peer.setblocking(False)
        refused(sock, peer, address)
        # and what begins now is seen by the host's.
        control.load_rules(f"deny proto udp dport {PORT} netns host")
        with source.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            refused(other, peer, address)


def refused(sock: socket.socket, peer: socket.socket, address: str) -> None:
    """A datagram is sent, and ctrfw drops it."""
    before = control.Status.read().dropped
    try:
        sock.sendto(b"x", (address, PORT))
    except PermissionError:
        pass
    until(lambda: control.Status.read().dropped > before, "it is dropped")
    try:
        peer.recvfrom(10)
    except BlockingIOError:
        return
    raise AssertionError("it has arrived")
