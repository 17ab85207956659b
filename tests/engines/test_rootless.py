# SPDX-License-Identifier: GPL-2.0
"""What a container without a bridge may do is refused in its own namespace, and at pasta's sockets on the host."""

import json
from collections.abc import Callable

import pytest

from engines.check import check_cells
from engines.row import addresses
from lib import control, reach, ready
from lib.control import Status
from lib.packets import datagram, ether
from lib.poll import until
from lib.reach import ANSWERED
from lib.rootless import OWN, RESOLVER, Place, User

# pasta's own hardware address, as its containers see it
PASTA = "9a:55:9a:55:9a:55"
TABLES = {
    # In its own namespace
    "lan-lockdown": """
box   ext        tcp udp ping  yes  # the internet
box   lan        tcp udp ping  no   # the private network
box   lan:389    tcp           yes  # the exception for all
box   lan:5432   tcp           no   # the exception for another one
box   lan:53     udp           yes  # names
box   lan0       tcp udp ping  no   # the host by its private address
box   near       tcp4 udp4     no   # the host by Podman's address for it
box   wan0       tcp udp ping  yes  # itself: it has the host's address
ext   wan0:8085  tcp udp       yes  # a published port
lan   lan0:8085  tcp udp       yes  # a published port, from the private network
host  lan        tcp udp ping  yes  # the host's own
""",
    # At the host's hooks, by its control group
    "host-network": """
box   ext        tcp udp ping  yes  # the internet
box   lan:53     udp           yes  # names
box   lan        tcp udp ping  no   # the private network
box   lan:389    tcp           no   # the private network
box   lan0       tcp udp ping  no   # the host by its private address
box   near       tcp4 udp4     no   # the host by Podman's address for it
lan   lan0:8085  tcp           yes  # its service
lan   lan0:8085  udp           no   # its port of another protocol
lan   lan0:8086  tcp           no   # what else it listens on
ext   wan0:8085  tcp udp       no   # its service, from the internet
host  loop:8085  tcp           yes  # its service, from the host
host  lan        tcp udp ping  yes  # the host's own
host  loop       tcp udp ping  yes  # the host's own
lan   lan0       tcp udp ping  yes  # the host
""",
}


def check(scene: Place, policy: str) -> dict[str, int]:
    """All is answered without the policy; with it, what it allows."""
    cells = scene.cells(reach.read(TABLES[policy]))
    results = scene.attempt(cells, lambda cell: True)
    silent = {str(cell): result for cell, result in results.items()}
    assert not {cell: word for cell, word in silent.items() if word != ANSWERED}
    ready.enforce(policy, *scene.outside)
    return check_cells(scene, cells, {cell.connection for cell in cells})


@pytest.mark.parametrize("policy", TABLES)
def test_policy(scene: Place, policy: str, note: Callable[..., None]) -> None:
    """what it allows, and what it refuses"""
    note(**check(scene, policy))


@pytest.mark.parametrize("policy", TABLES)
def test_names(scene: Place, policy: str) -> None:
    """names, once a policy lets containers ask pasta's resolver: as without it"""
    user = scene.engine
    assert isinstance(user, User)

    def ask() -> str:
        words = ("exec", "box", "nslookup", "outside.example", RESOLVER)
        return addresses(user.podman(*words))

    before = ask()
    assert scene.addresses["ext"][4] in before
    ready.enforce(policy, *scene.outside)
    if policy == "lan-lockdown":
        with pytest.raises(RuntimeError, match="no servers could be reached"):
            ask()
        members = f"192.168.50.2, fd00:50::2, {RESOLVER}"
        control.load_rules(f"replace set resolvers {{ {members} }}", append=True)
    assert ask() == before


def test_raw_socket(scene: Place) -> None:
    """a raw socket gets past the hooks of its own namespace, but not past pasta's sockets"""
    box, (_, lan) = scene.places["box"], scene.outside
    source, target = (scene.addresses[name][4] for name in (OWN, "lan"))
    (link,) = json.loads(box.run(["ip", "-j", "link", "show", "dev", OWN]))
    frame = ether(PASTA, link["address"], datagram(source, target, 9999, b"x"))
    with box.packet(OWN, receive=False) as wire, lan.udp(target, 9999) as sink:
        ready.enforce("lan-lockdown", *scene.outside)
        wire.send(frame)
        assert sink.recv(10) == b"x"
        ready.enforce("host-network", *scene.outside)
        dropped = Status.read().dropped
        wire.send(frame)
        until(lambda: Status.read().dropped > dropped, "it is refused")
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(10)


@pytest.mark.parametrize("policy", TABLES)
def test_started_anew(scene: Place, policy: str, note: Callable[..., None]) -> None:
    """the container's new namespace and its new pasta have the same policy"""
    user = scene.engine
    assert isinstance(user, User)
    scene.remove(user)
    scene.start(user)
    note(**check(scene, policy))
