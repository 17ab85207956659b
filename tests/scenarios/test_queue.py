# SPDX-License-Identifier: GPL-2.0
"""Packets that a program decides about: what it says is done, and without it nothing passes.

client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)
"""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from lib import control, module, nft
from lib.background import Background, Stop, running
from lib.control import SENTINEL_RULE, Status
from lib.netns import HOST, put
from lib.nfqueue import ACCEPT, DROP, REPEAT, Listener, Queued, queues
from lib.packets import IP, UDP, datagram, ether, same
from lib.poll import PATIENCE, until
from lib.topology import ADDRESSES, MACS, Published, Routed, bridge_calls
from lib.trace import Tracer

MODULE = "nfnetlink_queue"
NUMBER = 7
PACKETS = {
    4: datagram("10.1.0.2", "10.2.0.2", 7, b"to be judged"),
    6: datagram("fd00:1::2", "fd00:2::2", 7, b"to be judged"),
}
FORWARDED = ("pre_routing", "forward", "post_routing")


def rule(hook: str, bypass: str = "") -> str:
    """Queues the tests' packets."""
    return f"queue {NUMBER}{bypass} proto udp dport 7 hook {hook} netns host"


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


@pytest.fixture(scope="module")
def bridged() -> Iterator[Published]:
    """The bridge, whose packets br_netfilter shows to the hooks."""
    HOST.run(["modprobe", "br_netfilter"])
    with Published(published=False) as network:
        bridge_calls(1)
        # The ports of the bridge are learnt first.
        for version in (4, 6):
            network.connect(network.client, version, "web", 8080).close()
        yield network


def count(index: int) -> int:
    """The packets of a rule."""
    return control.counters()[index].packets


def waiting() -> int:
    """How many packets wait in the queue; -1 if nobody listens."""
    return next((queue.waiting for queue in queues() if queue.number == NUMBER), -1)


def held(sink: socket.socket, listener: Listener, queued: Queued, verdict: int) -> None:
    """A packet does not arrive as long as nothing is said of it; then that is said."""
    sink.setblocking(False)
    with pytest.raises(BlockingIOError):
        sink.recv(100)
    sink.settimeout(PATIENCE)
    listener.say(queued, verdict)


def unload_queue() -> None:
    """Without the module that queues."""

    def attempt() -> bool:
        with contextlib.suppress(BlockingIOError):
            if MODULE in module.names():
                module.remove(MODULE)
        return MODULE not in module.names()

    until(attempt, f"{MODULE} can be unloaded")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", FORWARDED)
def test_the_listener_decides(net: Routed, hook: str, version: int) -> None:
    """Each packet waits for its verdict, and meets it; the rule counts both."""
    packet = PACKETS[version]
    control.load_rules(SENTINEL_RULE, rule(hook))
    with Listener(NUMBER) as listener:
        dropped = Status.read().dropped
        for verdict, passes in ((DROP, False), (ACCEPT, True), (DROP, False)):
            assert net.forwarded(packet) == [False]
            queued = listener.receive()
            assert (queued.hook, same(queued.payload)) == (hook, same(packet))
            assert net.arrived(packet) == [False]
            listener.say(queued, verdict)
            assert net.arrived(packet) == [passes]
        assert (count(1), Status.read().dropped) == (3, dropped)
    assert control.rules()[1] == rule(hook)


@pytest.mark.parametrize("version", [4, 6])
def test_to_and_from_the_host(net: Routed, version: int) -> None:
    """At LOCAL_IN and LOCAL_OUT."""
    host, server = (
        ("10.1.0.1", "10.2.0.2") if version == 4 else ("fd00:1::1", "fd00:2::2")
    )
    client = "10.1.0.2" if version == 4 else "fd00:1::2"
    packet = datagram(client, host, 7, b"data")
    with Listener(NUMBER) as listener:
        control.load_rules(SENTINEL_RULE, rule("local_in"))
        assert net.accepted(packet) == 0
        with HOST.udp(host, 7) as sink:
            listener.say(listener.receive(), ACCEPT)
            assert sink.recv(100) == b"data"
        control.load_rules(SENTINEL_RULE, rule("local_out"))
        with net.server.udp(server, 7) as sink:
            assert net.sends(HOST, server)
            queued = listener.receive()
            assert queued.hook == "local_out"
            held(sink, listener, queued, ACCEPT)
            assert sink.recv(100) == b"data"


@pytest.mark.parametrize("version", [4, 6])
def test_nobody_listens(net: Routed, version: int) -> None:
    """The packet is dropped, or passes with bypass; without the kernel's module as well."""
    packet = PACKETS[version]
    for bypass, passes in (("", False), (" bypass", True)):
        control.load_rules(SENTINEL_RULE, rule("forward", bypass))
        assert MODULE in module.names()
        assert net.forwarded(packet) == [passes]
        # On another queue
        with Listener(NUMBER + 1):
            assert net.forwarded(packet) == [passes]
        unload_queue()
        assert net.forwarded(packet) == [passes]
        assert count(1) == 3
        # Whoever listens has the kernel load it.
        with Listener(NUMBER) as listener:
            assert net.forwarded(packet) == [False]
            listener.say(listener.receive(), ACCEPT)
            assert net.arrived(packet) == [True]
    # It is no rule that does not match: the next one is not asked.
    control.load_rules(
        SENTINEL_RULE, rule("forward", " bypass"), "deny dport 7 hook forward"
    )
    assert net.forwarded(packet) == [True]
    # And others on the host are asked.
    nft.load(
        "table inet other {\nchain forward {\n"
        "type filter hook forward priority 0\nudp dport 7 drop\n}\n}\n"
    )
    try:
        assert net.forwarded(packet) == [False]
    finally:
        nft.flush()


@pytest.mark.parametrize("bypass", ["", " bypass"])
def test_the_listener_is_killed(net: Routed, bypass: str) -> None:
    """What waits is dropped, whatever would become of it without a listener."""
    control.load_rules(SENTINEL_RULE, rule("pre_routing", bypass))
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            listener = Listener(NUMBER)
            os.write(tell, b"l")
            listener.receive()
            os.write(tell, b"x")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(tell)
        # The queue is there before it takes packets.
        assert os.read(ready, 1) == b"l"
        assert waiting() == 0
        packets = [PACKETS[4]] * 5 + [PACKETS[6]] * 5
        assert net.forwarded(*packets[:5]) == [False] * 5
        assert net.forwarded(*packets[5:]) == [False] * 5
        assert os.read(ready, 1) == b"x"
        assert waiting() == 10
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    until(lambda: waiting() == -1, "the queue is gone")
    unload_queue()
    assert net.arrived(PACKETS[4]) == [False]
    assert net.arrived(PACKETS[6]) == [False]
    assert net.forwarded(PACKETS[4]) == [bypass != ""]


def test_unloaded_while_packets_wait(net: Routed) -> None:
    """They are dropped with the hooks: no verdict can let them pass any more."""
    control.load_rules(SENTINEL_RULE, rule("pre_routing"))
    with Listener(NUMBER) as listener:
        assert net.forwarded(*[PACKETS[4]] * 5) == [False] * 5
        waits = [listener.receive() for _ in range(5)]
        assert waiting() == 5
        module.unload()
        assert waiting() == 0
        for queued in waits:
            listener.say(queued, ACCEPT)
        assert net.arrived(PACKETS[4]) == [False]
        # Nobody is asked any more.
        assert net.forwarded(PACKETS[4]) == [True]
    module.ensure()


def test_another_table_while_packets_wait(net: Routed) -> None:
    """The verdict holds at the hook where they wait; the hooks behind it ask the new table."""
    packet = PACKETS[4]
    with Listener(NUMBER) as listener:
        for table, passes in (
            ([], True),
            ([SENTINEL_RULE, "deny dport 7 hook pre_routing"], True),
            ([SENTINEL_RULE, "deny dport 7 hook forward"], False),
        ):
            control.load_rules(SENTINEL_RULE, rule("pre_routing"))
            assert net.forwarded(packet) == [False]
            control.load_rules(*table)
            listener.say(listener.receive(), ACCEPT)
            assert net.arrived(packet) == [passes]
        assert count(1) == 1


def test_asked_again(net: Routed) -> None:
    """NF_REPEAT has the table in force judge the packet anew."""
    packet = PACKETS[4]
    control.load_rules(SENTINEL_RULE, rule("forward"))
    with Listener(NUMBER) as listener:
        assert net.forwarded(packet) == [False]
        first = listener.receive()
        listener.say(first, REPEAT)
        second = listener.receive()
        assert (second.id != first.id, second.payload) == (True, first.payload)
        assert count(1) == 2
        control.load_rules(SENTINEL_RULE, "deny dport 7 hook forward")
        listener.say(second, REPEAT)
        assert net.arrived(packet) == [False]
        assert count(1) == 1
        control.load_rules(SENTINEL_RULE, rule("forward"))
        assert net.forwarded(packet) == [False]
        control.load_rules()
        listener.say(listener.receive(), REPEAT)
        assert net.arrived(packet) == [True]


def test_changed(net: Routed) -> None:
    """A listener may change the packet: the hooks behind judge what it has become."""
    packet = PACKETS[4]
    changed = bytearray(packet)
    # The destination port, and no checksum
    changed[22:24] = (8).to_bytes(2)
    changed[26:28] = bytes(2)
    control.load_rules(
        SENTINEL_RULE, rule("pre_routing"), "deny proto udp dport 9999 hook forward"
    )
    with Listener(NUMBER) as listener:
        assert net.forwarded(packet) == [False]
        listener.say(listener.receive(), ACCEPT, bytes(changed))
        assert net.arrived(packet, bytes(changed)) == [False, True]
        changed[22:24] = (9999).to_bytes(2)
        assert net.forwarded(packet) == [False]
        listener.say(listener.receive(), ACCEPT, bytes(changed))
        assert net.arrived(packet, bytes(changed)) == [False, False]
        assert count(2) == 1


def test_fragments(net: Routed) -> None:
    """Later fragments, which have no ports, are no packets of a rule with ports: as for deny."""
    whole = IP(src="10.1.0.2", dst="10.2.0.2", id=77) / UDP(dport=7) / bytes(2000)
    first, later = (bytes(fragment) for fragment in whole.fragment(1400))
    control.load_rules(SENTINEL_RULE, rule("pre_routing"))
    with Listener(NUMBER) as listener:
        assert net.forwarded(first, later) == [False, True]
        assert same(listener.receive().payload) == same(first)
        # They would match a rule before it that allows ports.
        control.load_rules(
            f"queue {NUMBER} fragment !no hook pre_routing netns host", SENTINEL_RULE
        )
        assert net.forwarded(first, later) == [False, False]
        for fragment in (first, later):
            assert same(listener.receive().payload) == same(fragment)


def test_only_of_the_host(net: Routed) -> None:
    """In a container's namespace nothing is queued, though its own root listens there."""
    control.load_rules(
        SENTINEL_RULE, f"queue {NUMBER} proto udp dport 7 netns host", "deny dport 7"
    )
    with Listener(NUMBER, net.server) as listener:
        assert net.forwarded(PACKETS[4]) == [False]
        assert queues(net.server)[0].waiting == 0
        with pytest.raises(TimeoutError):
            listener.receive(0.1)
    assert [count(1), count(2)] == [1, 0]


def test_what_comes_first(net: Routed) -> None:
    """The failsafe, an earlier rule, and priority; a default comes last."""
    packet = datagram("10.1.0.2", "10.1.0.1", 7, b"data")
    control.load_rules("failsafe { udp 7 }", rule("pre_routing"))
    assert net.accepted(packet) == 1
    control.load_rules(
        SENTINEL_RULE,
        "allow dport 7",
        f"default queue {NUMBER} hook local_in netns host",
    )
    assert net.accepted(packet) == 1
    control.load_rules(
        SENTINEL_RULE, f"default queue {NUMBER} bypass hook local_in netns host"
    )
    assert net.accepted(packet) == 1
    control.load_rules(
        SENTINEL_RULE, f"default queue {NUMBER} hook local_in netns host"
    )
    assert net.accepted(packet) == 0
    assert [counter.packets for counter in control.counters()][1] == 1


def test_audit_queues_nothing(net: Routed, tracer: Tracer) -> None:
    """The packet passes and is counted by its rule; it is no refusal on trial."""
    control.load_rules("mode audit", SENTINEL_RULE, rule("forward") + ' log "q"')
    control.trace("proto udp dport 7 hook forward netns host")
    tracer.skip()
    before = Status.read()
    with Listener(NUMBER) as listener:
        assert net.forwarded(PACKETS[4]) == [True]
        with pytest.raises(TimeoutError):
            listener.receive(0.1)
    after = Status.read()
    assert (after.would_drop, after.dropped) == (before.would_drop, before.dropped)
    assert count(1) == 1
    texts = tracer.texts()
    assert any(text.startswith("ctrfw: q would-queue ") for text in texts)
    assert any(" verdict=would-queue rule=2" in text for text in texts)
    control.load_rules(SENTINEL_RULE, rule("forward") + " log")
    assert net.forwarded(PACKETS[4]) == [False]
    texts = tracer.texts()
    assert any(text.startswith("ctrfw: log queue ") for text in texts)
    assert any(" verdict=queue rule=2" in text for text in texts)


@pytest.mark.parametrize("version", [4, 6])
def test_bridged(bridged: Published, version: int) -> None:
    """Between two ports, and up to the host: there the packet is not queued a second time."""
    client, web, host = (ADDRESSES[version][name] for name in ("client", "web", "br0"))
    control.load_rules(SENTINEL_RULE, rule("pre_routing"))
    with Listener(NUMBER) as listener, bridged.client.packet("eth0", False) as wire:
        for target, mac, place in (
            (web, MACS["web"], bridged.web),
            (host, "02:00:00:00:17:01", HOST),
        ):
            frame = ether(mac, MACS["client"], datagram(client, target, 7, b"data"))
            with place.udp(target, 7) as sink:
                for verdict in (DROP, ACCEPT):
                    wire.send(frame)
                    queued = listener.receive()
                    assert same(queued.payload) == same(frame[14:])
                    held(sink, listener, queued, verdict)
                assert sink.recv(100) == b"data"
                assert waiting() == 0
        assert count(1) == 4
        # A port that has left the bridge: the kernel lets nothing go there.
        frame = ether(MACS["web"], MACS["client"], datagram(client, web, 7, b"late"))
        with bridged.web.udp(web, 7) as sink:
            wire.send(frame)
            queued = listener.receive()
            HOST.ip("link set veth-cli nomaster")
            listener.say(queued, ACCEPT)
            HOST.ip("link set veth-cli master br0")
            sink.setblocking(False)
            with pytest.raises(BlockingIOError):
                sink.recv(100)


@pytest.mark.parametrize("gso", [False, True], ids=["in segments", "as they come"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_stream(net: Routed, version: int, gso: bool) -> None:
    """A TCP stream that is queued at three hooks, large packets among it, comes through whole."""
    server = "10.2.0.2" if version == 4 else "fd00:2::2"
    back = "ipv4" if version == 4 else "ipv6"
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    net.server.ip(
        "route replace 10.1.0.0/24 via 10.2.0.1",
        "route replace fd00:1::/64 via fd00:2::1",
    )
    data = os.urandom(200_000)

    def listen(stop: Stop) -> int:
        accepted = 0
        with Listener(NUMBER, gso=gso) as listener:
            stop.progress = 1
            while not stop:
                accepted += listener.accept_all(0.05)
        return accepted

    def receive(stop: Stop) -> int:
        with net.server.make_socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((server, 8080))
            sock.listen()
            stop.progress = 1
            peer, _ = sock.accept()
            with peer:
                peer.settimeout(PATIENCE)
                got = b""
                while piece := peer.recv(65536):
                    got += piece
        return int(got == data)

    try:
        with running(listen) as program, running(receive) as end:
            until(lambda: program.stop_flag.progress and end.stop_flag.progress, "both")
            control.load_rules(
                f"queue {NUMBER} family {back} proto tcp hook forward,pre_routing,post_routing netns host"
            )
            with net.client.make_socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(PATIENCE)
                sock.connect((server, 8080))
                sock.sendall(data)
            assert end.result() == 1
            assert program.finish() > 20
    finally:
        net.server.ip("route del 10.1.0.0/24", "route del fd00:1::/64")
    assert count(0) > 20


def test_a_storm(net: Routed, tell: Callable[[str], None]) -> None:
    """Traffic, a listener that accepts, tables that come and go, rmmod: nothing hangs."""

    def storm(stop: Stop) -> int:
        sent = 0
        with net.client.packet("eth0", receive=False) as wire:
            while not stop:
                for packet in PACKETS.values():
                    frame = ether(Routed.HOST_MAC, Routed.CLIENT_MAC, packet)
                    sent += put(wire, frame)
        return sent

    def listen(stop: Stop) -> int:
        accepted = 0
        while not stop:
            before = accepted
            with Listener(NUMBER) as listener:
                for _ in range(50):
                    if stop:
                        break
                    with contextlib.suppress(TimeoutError, OSError):
                        listener.say(listener.receive(0.02), ACCEPT)
                        accepted += 1
            # How many listeners had something to accept
            stop.progress += accepted > before
        return accepted

    sender, program = Background(storm), Background(listen)
    rounds = 0
    try:
        while rounds < 8 or (rounds < 1000 and program.stop_flag.progress < 8):
            for hook in FORWARDED:
                control.load_rules(rule(hook))
            control.load_rules(*[rule(hook, " bypass") for hook in FORWARDED])
            module.unload()
            module.ensure()
            rounds += 1
    finally:
        sender.stop_flag.set()
        program.stop_flag.set()
    sent, accepted = sender.result(), program.result()
    assert accepted > 0
    tell(f"{sent} packets sent, {accepted} accepted, {rounds} times rmmod")
    until(lambda: waiting() == -1, "the queue is gone")


@pytest.mark.parametrize("line", [rule("forward"), "default queue 1 netns host"])
def test_refused_without_the_module(no_modprobe: None, line: str) -> None:
    """Where it is not to be had the table is refused as a whole, and says so."""
    unload_queue()
    control.load_rules("deny dport 1")
    generation = Status.read().generation
    with pytest.raises(OSError) as caught:
        control.load_rules("allow dport 2", line)
    assert caught.value.errno == errno.EOPNOTSUPP
    status = Status.read()
    assert status.last_error == (
        "rules line 2: queue needs the kernel's module nfnetlink_queue, which cannot be loaded"
    )
    assert status.generation == generation
    assert control.rules() == ["deny dport 1"]
