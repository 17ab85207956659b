# SPDX-License-Identifier: GPL-2.0
"""The policies of docs/policies/, as they are, in the place that lib/scene.py draws, with a real Docker.

Tables say who may reach whom. Each connection is made, over IPv4 and IPv6, from the source's own
network namespace: without a policy, where all of them are answered, so that none fails for another
reason; with the policy on trial, where all are answered still and those that are refused later are
logged; and with the policy enforced. All again behind `nft flush ruleset`, when Docker serves
published ports by processes of its own. Docker's rules between its networks are out of force, so
that what is refused is refused by the policy.
"""

import contextlib
import fcntl
import re
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from lib import control, kmsg, nft, ready
from lib.control import Status
from lib.docker import docker, running
from lib.netns import HOST, Namespace
from lib.packets import datagram, ether
from lib.poll import until
from lib.reach import ANSWERED, FORBIDDEN, SILENT, Cell
from lib.ready import CELLS, TABLES
from lib.scene import SERVICE, TRANSLATED, Scene, built
from lib.topology import BRIDGE_SYSCTLS, bridge_calls

SIOCGIFHWADDR = 0x8927
FILTER_VLAN = BRIDGE_SYSCTLS / "bridge-nf-filter-vlan-tagged"
VLAN_0 = b"\x81\0\0\0"


def hardware(netns: Namespace, device: str) -> str:
    """A device's hardware address."""
    with netns, netns.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(
            sock, SIOCGIFHWADDR, struct.pack("@16s24x", device.encode())
        )
    return answer[18:24].hex(":")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """All of it, while the module's tests run."""
    options = "--ipv6 --fixed-cidr-v6 fd00:d0c::/64 --experimental --ip6tables"
    with running(*options.split()) as engine, built(engine) as scene:
        # Between networks Docker refuses much by itself.
        for tool in ("iptables", "ip6tables"):
            HOST.run([tool, "-I", "DOCKER-USER", "-j", "ACCEPT"])
        yield scene


def check(scene: Scene, cells: list[Cell], all_open: bool = False) -> None:
    """Each connection comes to what it should."""
    wrong = []
    for cell, result in scene.attempt(cells, lambda c: all_open or c.open).items():
        answered = all_open or cell.open
        if result not in ((ANSWERED,) if answered else (SILENT, FORBIDDEN)):
            wanted = "" if answered else "not "
            wrong.append(f"{cell}: {wanted}to be answered: {result}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


PREFIXES = {
    "lan-lockdown": "lan-lockdown",
    "one-published-service": "published",
    "compose-project": "stack",
    "host-network": "host-network",
}
LOGGED = re.compile(
    r"ctrfw: (.*) would-deny .* dst=(\S+) proto=\S+(?: spt=\d+ dpt=(\d+))?"
)


def load(scene: Scene, policy: str) -> None:
    """Puts a policy in force, in earnest."""
    ready.enforce(policy, *scene.outside)


@pytest.mark.parametrize("policy", TABLES)
def test_without(scene: Scene, policy: str) -> None:
    """Without a policy everybody reaches everybody."""
    bridge_calls(1)
    check(scene, scene.cells(CELLS[policy]), all_open=True)


@pytest.mark.parametrize("policy", TABLES)
def test_on_trial(scene: Scene, policy: str) -> None:
    """The file as it is refuses nothing; what it would refuse is logged."""
    bridge_calls(1)
    ready.load(policy, *scene.outside)
    cells = scene.cells(CELLS[policy])
    before = Status.read()
    with kmsg.Kmsg() as log:
        check(scene, cells, all_open=True)
        logged = set()
        for text in log.texts():
            if found := LOGGED.search(text):
                assert found[1].startswith(PREFIXES[policy]), text
                logged.add((found[2], int(found[3] or 0)))
    status = Status.read()
    assert (status.mode, status.dropped) == ("audit", before.dropped)
    assert status.would_drop > before.would_drop

    def targets(cell: Cell) -> set[tuple[str, int]]:
        """Addresses and ports that a line about it may have; TCP and UDP share their lines."""
        places = {cell.target: 0 if cell.kind == "ping" else cell.port}
        if cell.port in TRANSLATED:
            places[TRANSLATED[cell.port]] = SERVICE
        found = {name: scene.addresses[name].get(cell.version) for name in places}
        return {(a.partition("%")[0], places[name]) for name, a in found.items() if a}

    silent = [str(c) for c in cells if not c.open and not targets(c) & logged]
    assert not silent, f"not in the log: {silent}; there: {sorted(logged)}"


@pytest.mark.parametrize("bridged", [1, 0])
@pytest.mark.parametrize("policy", TABLES)
def test_enforced(scene: Scene, policy: str, bridged: int) -> None:
    """Enforced, whether the host's hooks see what goes over its bridges or not."""
    bridge_calls(bridged)
    load(scene, policy)
    check(scene, scene.cells(CELLS[policy]))


def load_for_the_host_alone(scene: Scene) -> None:
    """The lock-down without its rules for containers' own hooks, in earnest."""
    load(scene, "lan-lockdown")
    own = [
        rule.number
        for rule in control.counters()
        if rule.text.startswith("deny") and "netns container" in rule.text
    ]
    assert len(own) == 2
    control.load_rules(*(f"delete {number}" for number in reversed(own)), append=True)


def test_host_alone(scene: Scene) -> None:
    """What containers can do nothing about is enough, but for what goes by macvlan."""
    bridge_calls(1)
    load_for_the_host_alone(scene)
    check(
        scene,
        [c for c in scene.cells(CELLS["lan-lockdown"]) if c.source != "mac" or c.open],
    )


@pytest.mark.parametrize("version", [4, 6])
def test_vlan_tag(scene: Scene, version: int) -> None:
    """VLAN tag 0 is no VLAN; but on a bridge the host's hooks look behind it only if told to."""
    bridge_calls(1)
    client = scene.places["client"]
    source, target = (scene.addresses[n][version] for n in ("client", "web"))
    ends = hardware(scene.places["web"], "eth0"), hardware(client, "eth0")
    frame = ether(*ends, datagram(source, target, 9999, b"x"))
    tagged = frame[:12] + VLAN_0 + frame[12:]
    with (
        client.packet("eth0", receive=False) as wire,
        scene.places["web"].udp(target, 9999) as sink,
    ):
        load_for_the_host_alone(scene)
        wire.send(tagged)
        assert sink.recv(10) == b"x"
        try:
            FILTER_VLAN.write_text("1\n")
            refused(lambda: wire.send(tagged), sink)
        finally:
            FILTER_VLAN.write_text("0\n")
        # The receiver's own hooks see it in any case.
        load(scene, "lan-lockdown")
        refused(lambda: wire.send(tagged), sink)


def refused(send: Callable[[], object], *sinks: socket.socket) -> None:
    """As many packets are sent as there are sockets, and none arrives."""
    dropped = Status.read().dropped + len(sinks)
    send()
    until(lambda: Status.read().dropped >= dropped, "all are refused")
    for sink in sinks:
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(10)


def test_names(scene: Scene) -> None:
    """Names behind the lock-down: a neighbour's, and one that the private network's server knows."""
    load(scene, "lan-lockdown")
    for container, name, address in (
        ("redis", "front", "172.30.0.10"),
        ("redis", "outside.example", "203.0.113.2"),
        ("client", "outside.example", "203.0.113.2"),
    ):
        assert address in docker("exec", container, "nslookup", name)


def test_shared_namespace(scene: Scene) -> None:
    """A process of a container in the host's namespace, and the same process of the host."""
    load(scene, "host-network")
    # Those who are answered need not be quick.
    slow, words = (("wget", "-qO-", "-T", seconds) for seconds in ("60", "2"))
    near, far = "http://192.168.50.2:8080/", "http://203.0.113.2:8080/"
    assert docker("exec", "shared", *slow, far) == "hello"
    with pytest.raises(RuntimeError, match="timed out"):
        docker("exec", "shared", *words, near)
    assert HOST.run(["busybox", *slow, near]) == "hello\n"


@pytest.mark.parametrize("bridged", [1, 0])
@pytest.mark.parametrize("version", [4, 6])
def test_raw_sockets(scene: Scene, version: int, bridged: int) -> None:
    """What a container sends past its own hooks goes no further than what it sends through them."""
    bridge_calls(bridged)
    client = scene.places["client"]
    neighbour, gateway, host, lan = (
        scene.addresses[name][version] for name in ("web", "docker0", "lan0", "lan")
    )
    # Whoever has spoken with somebody knows his hardware address.
    cells = [
        c
        for c in scene.cells(CELLS["lan-lockdown"])
        if c.source == "client" and c.target in ("web", "docker0")
    ]
    check(scene, cells, all_open=True)
    source = scene.addresses["client"][version]
    with client.packet("eth0", receive=False) as wire:
        own = hardware(client, "eth0")
        near, far = hardware(scene.places["web"], "eth0"), hardware(HOST, "docker0")
        targets = [
            (near, "web", neighbour),
            (far, "host", gateway),
            (far, "host", host),
            (far, "lan", lan),
        ]
        with contextlib.ExitStack() as stack:
            sinks = {
                address: stack.enter_context(scene.places[name].udp(address, 9999))
                for _, name, address in targets
            }

            def send() -> None:
                for mac, _, address in targets:
                    wire.send(ether(mac, own, datagram(source, address, 9999, b"x")))

            send()
            for address, sink in sinks.items():
                assert sink.recv(10) == b"x", address
            load(scene, "lan-lockdown")
            refused(send, *sinks.values())


@pytest.mark.parametrize("policy", TABLES)
def test_behind_a_flush(scene: Scene, policy: str) -> None:
    """Nobody translates any more, and docker-proxy serves what is published: the policy holds."""
    bridge_calls(1)
    # The last tests here: it stays so.
    nft.flush()
    check(scene, scene.cells(CELLS[policy]), all_open=True)
    load(scene, policy)
    check(scene, scene.cells(CELLS[policy]))
