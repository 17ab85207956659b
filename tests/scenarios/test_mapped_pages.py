# SPDX-License-Identifier: GPL-2.0
"""A sender that changes a packet after it was judged.

    client                 host                    server
    TX ring   ---   10.1.0.1   10.2.0.1   ---   (10.2.0.77, nobody answers)

What AF_PACKET sends from a mapped ring stays in the sender's own pages, even on its way through
other namespaces, and the ring's frame is free for the next packet as soon as the packet has
crossed a veth. The packet waits in the host for a neighbour; meanwhile the sender rewrites its
port. Proven: what is delivered is what was judged.
"""

from lib import control
from lib.packets import ether, ipv4
from lib.poll import until
from lib.topology import Routed
from lib.txring import TxRing

SCTP = 132
ALLOWED, FORBIDDEN = 7, 22


def test_what_is_judged_is_delivered() -> None:
    """The port of SCTP: nothing but ctrfw brings its header out of the pages."""
    with Routed() as net:
        control.load_rules(f"allow proto sctp dport {ALLOWED}", "deny proto sctp")
        payload = (40000).to_bytes(2, "big") + ALLOWED.to_bytes(2, "big") + bytes(200)
        frame = ether(
            net.HOST_MAC, net.CLIENT_MAC, ipv4("10.1.0.2", "10.2.0.77", SCTP, payload)
        )
        ring = TxRing(net.client, "eth0")
        with net.server.packet("eth0") as tap:
            ring.send(frame)
            until(
                lambda: control.counters()[0].packets == 3,
                "the packet waits behind POST_ROUTING",
            )
            ring.write(frame[:36] + FORBIDDEN.to_bytes(2, "big") + frame[38:])
            net.host.ip(
                f"neigh replace 10.2.0.77 lladdr {net.SERVER_MAC} nud permanent dev srv0"
            )
            while True:
                arrived = tap.recv(2048)
                if arrived[23] == SCTP:
                    break
        ring.close()
        assert int.from_bytes(arrived[36:38], "big") == ALLOWED
