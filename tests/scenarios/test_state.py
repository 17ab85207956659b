# SPDX-License-Identifier: GPL-2.0
"""`state`: connection tracking for the table alone, with nobody else on the host who wants it.

    ext                        host                                   web
    eth0 192.0.2.2   ---   ext0 192.0.2.1        br0 172.17.0.1  ---  eth0 172.17.0.2
         2001:db8:2::2          2001:db8:2::1        fd00:17::1           fd00:17::2

Proven, for both families: at each hook, of the host and of a container, a table that lets in what
is new in one direction only lets all of its conversations pass, and nothing that begins in the
other; errors about them are related, errors about nothing are not; what can be part of no
connection is invalid, also where connection tracking has not been yet; namespaces have their
connections tracked where the table asks for it, as soon as they are made, and no longer than the
table is in force; without nf_conntrack such a table is refused and all others work.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from lib import conntrack, control, kmsg, module, nft, talk
from lib.background import Stop, running
from lib.control import SENTINEL_RULE, Status
from lib.netns import HOST, Namespace, created, up
from lib.packets import ICMP, IP, TCP, UDP, IPv6, checksum, ether, ipv4, ipv6
from lib.poll import PATIENCE, until
from lib.topology import ADDRESSES, Published, Routed
from lib.trace import Tracer

BOTH = {"ip", "ip6"}
PORT = 7000
OTHER_PORT = 7001
REFUSED = (
    "state, origdst and origdport need the kernel's module nf_conntrack, "
    "which cannot be loaded"
)


@pytest.fixture(scope="module")
def net() -> Iterator[Published]:
    """One network for all; no rule of anybody else is in it."""
    with Published(published=False) as network:
        yield network


@pytest.fixture(scope="module")
def routed() -> Iterator[Routed]:
    """A network where packets can be made by hand."""
    with Routed() as network:
        yield network


def between(*addresses: str) -> str:
    """Words for packets among these, and not for what tests before this may have left in the host."""
    both = ", ".join(addresses)
    return f"from {{ {both} }} to {{ {both} }}"


def counted(*indices: int) -> list[int]:
    """What these statements have counted, from 0."""
    counters = control.counters()
    return [counters[index].packets for index in indices]


OUT, IN = ("local_out", "post_routing"), ("pre_routing", "local_in")
THROUGH = ("pre_routing", "forward", "post_routing")
# Who asks whom, and where: namespace and hook.
PLACES = [
    *[("ext", "web", "host", hook) for hook in THROUGH],
    *[("ext", "host", "host", hook) for hook in (*IN, *OUT)],
    *[("host", "web", "host", hook) for hook in (*IN, *OUT)],
    *[("ext", "web", "web", hook) for hook in (*IN, *OUT)],
    *[("web", "ext", "web", hook) for hook in (*IN, *OUT)],
]


def meets_questions(hook: str, where: str, asker: str, answerer: str) -> bool:
    """Whether the asker's packets pass that hook there."""
    if where == asker:
        return hook in OUT
    return hook in IN or where != answerer


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("asker", "answerer", "where", "hook"), PLACES)
def test_policy(
    net: Published, asker: str, answerer: str, where: str, hook: str, version: int
) -> None:
    """What is new passes in one direction only, and all that belongs to it in both."""
    names = {"ext": net.ext, "host": HOST, "web": net.web}
    client, server = names[asker], names[answerer]
    addresses = dict(ADDRESSES[version])
    if asker == "host":
        addresses["host"] = addresses["br0"]
    source, target = addresses[asker], addresses[answerer]
    here = f"hook {hook} netns {names[where].inode}"
    control.load_rules(
        f"allow state {{ established, related }} {here}",
        f"allow state untracked proto icmpv6 {here}",
        f"allow state new from {source} {here}",
        f'deny {between(source, target)} {here} log "refused"',
    )
    with kmsg.Kmsg() as log:
        talk.tcp(client, server, target, PORT)
        talk.udp(client, server, target, PORT)
        talk.ping(client, target)
        known, new, refused = counted(0, 2, 3)
        assert refused == 0, log.texts()
    assert known >= 3
    assert (new >= 3) == meets_questions(hook, where, asker, answerer)

    if not meets_questions(hook, where, answerer, asker):
        # Of what the other asks this hook sees only the answers.
        talk.udp(server, client, source, PORT)
        assert counted(3) == [0]
        return
    with client.udp(source, PORT) as sink, server.udp(target, PORT) as sock:
        with contextlib.suppress(PermissionError):
            sock.sendto(b"question", (source, PORT))
        until(lambda: counted(3) > [0], "the datagram is refused")
        with talk.begin_tcp(server, source, PORT):
            until(lambda: counted(3) > [1], "the connection is refused")
        sink.setblocking(False)
        with pytest.raises(BlockingIOError):
            sink.recv(100)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hook", THROUGH)
def test_errors(net: Published, hook: str, version: int) -> None:
    """ICMP errors about what passed are related; about anything else they are invalid."""
    addresses = ADDRESSES[version]
    source, target = addresses["ext"], addresses["web"]
    here = f"hook {hook} netns host"
    control.load_rules(
        f"allow state related {here}",
        f"allow state invalid proto {{ icmp, icmpv6 }} {here}",
        f"allow state untracked {here}",
        f"allow state new proto udp {here}",
        f"deny {between(source, target)} {here}",
    )
    with net.ext.udp(source) as sock:
        sock.connect((target, OTHER_PORT))
        sock.send(b"question")
        # Nobody listens there.
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    assert counted(0, 1, 3, 4) == [1, 0, 1, 0]

    layer = IP if version == 4 else IPv6
    quoted = bytes(layer(src=source, dst=target) / UDP(sport=9, dport=9))
    if version == 4:
        proto, error = socket.IPPROTO_ICMP, bytes(ICMP(type=3, code=3) / quoted)
    else:
        proto, error = socket.IPPROTO_ICMPV6, struct.pack("!BBHI", 1, 4, 0, 0) + quoted
    family = talk.family_of(target)
    with net.web.make_socket(family, socket.SOCK_RAW, proto) as sock:
        sock.sendto(error, (source, 0))
        until(lambda: counted(1) == [1], "an error about nothing is invalid")
    assert counted(0, 1, 3, 4) == [1, 1, 1, 0]


C4, S4, C6, S6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
SIDES = {4: (C4, S4), 6: (C6, S6)}
_ports = iter(range(10000, 60000))


def segments(version: int, *flags: str) -> list[bytes]:
    """TCP segments of no connection."""
    source, target = SIDES[version]
    layer = IP if version == 4 else IPv6
    return [
        bytes(
            layer(src=source, dst=target)
            / TCP(sport=next(_ports), dport=80, flags=each, seq=1)
        )
        for each in flags
    ]


def message(version: int, kind: int) -> bytes:
    """An ICMP message about nothing."""
    source, target = SIDES[version]
    body = bytes([kind, 0, 0, 0]) + next(_ports).to_bytes(2) + b"\0\1"
    if version == 4:
        body = body[:2] + checksum(body).to_bytes(2) + body[4:]
        return ipv4(source, target, 1, body)
    pseudo = ipv6(source, target, 58)[8:] + struct.pack("!II", len(body), 58)
    return ipv6(
        source,
        target,
        58,
        body[:2] + checksum(pseudo + body).to_bytes(2) + body[4:],
    )


def datagram(version: int) -> bytes:
    """A datagram that nobody waits for."""
    source, target = SIDES[version]
    layer = IP if version == 4 else IPv6
    return bytes(layer(src=source, dst=target) / UDP(sport=next(_ports), dport=7))


def other(version: int) -> bytes:
    """A packet of a protocol that connection tracking knows nothing of."""
    source, target = SIDES[version]
    make = ipv4 if version == 4 else ipv6
    return make(source, target, 253, next(_ports).to_bytes(2))


# Types of ICMP that begin something, those that do not, and those that nobody tracks
REQUESTS = {4: [8, 13], 6: [128, 139]}
STRAYS = {4: [0, 14, 7, 19, 100], 6: [129, 140, 200]}
NOT_TRACKED = {4: [], 6: [130, 131, 132, 143]}

SENSELESS = ["", "F", "U", "SF", "SR", "FR", "FPU", "FSRPAU"]


def stray_packets(state: str, version: int) -> list[bytes]:
    """Packets of no connection, by the state that they have."""
    if state == "new":
        return [
            *segments(version, "S", "SEC", "A", "PA", "AU"),
            *[message(version, kind) for kind in REQUESTS[version]],
            datagram(version),
            other(version),
        ]
    if state == "invalid":
        return [
            *segments(version, "SA", "R", "RA", "FA", *SENSELESS),
            *[message(version, kind) for kind in STRAYS[version]],
        ]
    return [message(version, kind) for kind in NOT_TRACKED[version]]


@pytest.mark.parametrize("hook", ["pre_routing", "forward"])
@pytest.mark.parametrize(
    ("state", "version"),
    [("new", 4), ("new", 6), ("invalid", 4), ("invalid", 6), ("untracked", 6)],
)
def test_stray_packets(routed: Routed, state: str, version: int, hook: str) -> None:
    """What connection tracking is about to find is known before it has been there.

    At FORWARD it has, so that both hooks must say the same.
    """
    # Reports of multicast groups, untracked, may come at any time.
    source, target = SIDES[version]
    here = f"from {source} to {target} hook {hook} netns host"
    control.load_rules(SENTINEL_RULE, f"allow state ! {state} {here}", f"deny {here}")
    packets = stray_packets(state, version)
    assert routed.forwarded(*packets) == [False] * len(packets)
    assert counted(1) == [0]
    packets = stray_packets(state, version)
    control.load_rules(SENTINEL_RULE, f"deny state ! {state} {here}")
    assert routed.forwarded(*packets) == [True] * len(packets)


@pytest.mark.parametrize("version", [4, 6])
def test_broken_packets_are_invalid(routed: Routed, version: int) -> None:
    """What cannot be parsed has no state but that."""
    source, target = SIDES[version]
    make = ipv4 if version == 4 else ipv6
    packets = [
        make(source, target, 6, b"\x00\x07"),
        make(source, target, 6, bytes(12)),
        make(source, target, 1 if version == 4 else 58, b"\x08"),
    ]
    if version == 6:
        # An extension header that is longer than the packet
        packets.append(ipv6(source, target, 60, bytes([6, 200]) + bytes(14)))
    here = "hook pre_routing netns host"
    control.load_rules(SENTINEL_RULE, f"deny state invalid {here}")
    assert routed.forwarded(*packets) == [False] * len(packets)
    control.load_rules(SENTINEL_RULE, f"allow state ! invalid {here}", f"deny {here}")
    assert routed.forwarded(*packets) == [False] * len(packets)


@pytest.mark.parametrize("version", [4, 6])
def test_fragments(net: Published, version: int) -> None:
    """Later fragments show no state before they are put together: the first one's decides."""
    source, target = ADDRESSES[version]["ext"], ADDRESSES[version]["web"]
    large = bytes(4000)
    for hook in ("pre_routing", "forward"):
        here = f"hook {hook} netns host"
        both = f"{between(source, target)} {here}"
        control.load_rules(
            f"allow state established {here}",
            f"allow state untracked {here}",
            f"allow state new from {source} {here}",
            f"deny {both}",
        )
        with net.ext.udp(source, PORT) as sock, net.web.udp(target, PORT) as peer:
            sock.sendto(large, (target, PORT))
            assert peer.recv(5000) == large
            peer.sendto(large, (source, PORT))
            assert sock.recv(5000) == large
            assert counted(3) == [0]
            control.load_rules(f"deny state new {both}")
            peer.sendto(large, (source, PORT))
            assert sock.recv(5000) == large
            assert counted(0) == [0]


def test_untracked(net: Published) -> None:
    """What a rule of somebody else takes out of tracking."""
    nft.load(
        "table inet raw { chain prerouting {\n"
        "type filter hook prerouting priority raw;\n"
        f"udp dport {PORT} notrack\nudp sport {PORT} notrack\n}}\n}}\n"
    )
    try:
        here = "proto udp hook forward netns host"
        control.load_rules(f"allow state untracked {here}", f"deny {here}")
        talk.udp(net.ext, net.web, ADDRESSES[4]["web"], PORT)
        assert counted(0, 1) == [2, 0]
    finally:
        nft.flush()


@pytest.mark.parametrize("version", [4, 6])
def test_the_same_ports_again(net: Published, version: int) -> None:
    """A SYN that takes the place of a connection which is over is new, not part of that."""
    source, target = ADDRESSES[version]["ext"], ADDRESSES[version]["web"]
    control.load_rules(
        f"allow state new from {source} proto tcp dport {PORT} hook pre_routing netns host"
    )
    with talk.listening(net.web, target, PORT) as listener:
        for number in (1, 2, 3):
            family = talk.family_of(source)
            with net.ext.make_socket(family, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((source, OTHER_PORT))
                # Closed by a reset: neither end of it waits for anything.
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.settimeout(PATIENCE)
                sock.connect((target, PORT))
                peer, _ = listener.accept()
            with peer:
                peer.settimeout(PATIENCE)
                with pytest.raises(ConnectionResetError):
                    peer.recv(100)
            assert counted(0) == [number]


def test_where_connections_are_tracked(net: Published) -> None:
    """In the namespaces that the rules speak of, old ones and new ones, and nowhere else."""
    spaces = {"host": HOST, "web": net.web, "ext": net.ext}

    def where() -> set[str]:
        found = {name: conntrack.tracks(netns) for name, netns in spaces.items()}
        assert all(families in (set(), BOTH) for families in found.values()), found
        return {name for name, families in found.items() if families}

    for words, expected in {
        "": {"host", "web", "ext"},
        "netns host": {"host"},
        "netns container": {"web", "ext"},
        "netns ! host": {"web", "ext"},
        "netns ! container": {"host"},
        f"netns {net.web.inode}": {"web"},
        f"netns {{ host, {net.ext.inode} }}": {"host", "ext"},
    }.items():
        control.load_rules("deny dport 1 netns host", f"deny dport 1 state new {words}")
        assert where() == expected, words
        with created("new") as (new,):
            assert bool(conntrack.tracks(new)) == ({"web", "ext"} <= expected)
            control.load_rules("deny dport 1")
            assert not where()
            assert not conntrack.tracks(new)
    # From one such table to another, by addition, and back
    control.load_rules("deny dport 1 state new netns host")
    control.load_rules(f"deny dport 1 state new netns {net.web.inode}", append=True)
    assert where() == {"host", "web"}
    control.load_rules("deny dport 2", append=True)
    assert where() == {"host", "web"}
    control.load_rules("deny dport 1 state new netns host")
    assert where() == {"host"}
    # All states that there are say nothing.
    control.load_rules(
        "deny dport 1 state { new, established, related, invalid, untracked }"
    )
    assert control.rules() == ["deny dport 1"]
    assert not where()
    # The trace, beside the table
    control.trace(f"dport 1 state invalid netns {net.ext.inode}")
    assert where() == {"ext"}
    control.load_rules("deny dport 1 state new netns host")
    assert where() == {"ext", "host"}
    control.trace()
    assert where() == {"host"}
    # Somebody who still reads a table of the past does not keep its tracking.
    with open(control.RULES) as reader:
        control.load_rules("deny dport 1")
        assert not where()
        assert reader.read() == "deny dport 1 state new netns host\n"


def test_others_keep_their_tracking(net: Published) -> None:
    """What somebody else wants tracked goes on being tracked without us."""
    script = (
        "table inet other { chain input {\n"
        "type filter hook input priority 0;\nct state established accept\n}\n}\n"
    )
    nft.load(script, net.web)
    assert conntrack.tracks(net.web) == BOTH
    control.load_rules("deny dport 1 state new")
    control.load_rules()
    assert conntrack.tracks(net.web) == BOTH
    assert not conntrack.tracks(HOST)
    control.load_rules("deny dport 1 state new")
    nft.flush(net.web)
    assert conntrack.tracks(net.web) == BOTH
    control.load_rules()

    # nft gives its own back a little later.
    until(lambda: not conntrack.tracks(net.web), "nobody tracks connections any more")


def test_module_is_held_and_released(net: Published) -> None:
    """nf_conntrack is loaded for a table that asks for it, held, and let go; also by rmmod."""
    control.load_rules()
    conntrack.remove()
    for last in (control.load_rules, module.unload):
        control.load_rules("deny dport 1")
        assert conntrack.references() <= 0
        control.load_rules("deny dport 1 state new")
        held = conntrack.references()
        assert held > 0
        with pytest.raises(BlockingIOError):
            module.remove(conntrack.NAME)
        for _ in range(3):
            control.load_rules("deny dport 2 state new")
            control.load_rules("deny dport 2 state new netns host")
            control.load_rules("deny dport 3", append=True)
            with pytest.raises(OSError):
                control.load_rules("deny dport 2 state new", "deny dport x")
        assert conntrack.references() == held
        last()
        assert conntrack.references() == 0
        conntrack.remove()
    module.ensure()


def test_loaded_in_any_order() -> None:
    """Namespaces made while the table is in force are tracked, whichever module came first."""
    for first in (module.load, conntrack.load):
        module.unload()
        conntrack.remove()
        first()
        if not module.is_loaded():
            module.load()
        control.load_rules("deny state new dport 1")
        with created("new") as (new,):
            assert conntrack.tracks(new) == BOTH
            talk.udp(new, new, "127.0.0.1", PORT)


@pytest.mark.parametrize(
    "words", ["state established", "origdst 10.0.0.1", "origdport 80"]
)
def test_refused_without_conntrack(no_modprobe: None, words: str) -> None:
    """Where it is not to be had the table is refused as a whole, and says so."""
    control.load_rules("deny dport 1")
    conntrack.remove()
    generation = Status.read().generation
    with pytest.raises(OSError) as caught:
        control.load_rules("allow dport 2", f"allow {words}", "deny")
    assert caught.value.errno == errno.EOPNOTSUPP
    status = Status.read()
    assert status.last_error == f"rules line 2: {REFUSED}"
    assert status.generation == generation
    assert control.rules() == ["deny dport 1"]
    with pytest.raises(OSError) as caught:
        control.trace(words)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert Status.read().last_error == f"trace line 1: {REFUSED}"
    assert conntrack.references() == -1
    # All that need not have it works.
    module.unload()
    module.load()
    control.load_rules("deny dport 1")
    assert control.rules() == ["deny dport 1"]


def test_trace(net: Published, tracer: Tracer) -> None:
    """The trace takes the word, too."""
    control.trace("state new proto udp netns host", "state related netns host")
    talk.udp(net.ext, net.web, ADDRESSES[4]["web"], PORT)
    lines = tracer.lines()
    assert {line.dpt for line in lines} == {PORT}
    assert [line.hook for line in lines] == ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]


def test_loopback(net: Published) -> None:
    """A connection of a namespace with itself, which passes LOCAL_OUT and PRE_ROUTING once each."""
    control.load_rules(
        "allow state established",
        "allow state new in lo",
        "allow state new out lo",
        *(
            f"deny from {{ 127.0.0.1, ::1 }} state {state}"
            for state in ("new", "related", "invalid")
        ),
    )
    for netns in (HOST, net.web):
        netns.ip("link set lo up")
        for address in ("127.0.0.1", "::1"):
            talk.tcp(netns, netns, address, PORT)
            talk.udp(netns, netns, address, PORT)
            talk.ping(netns, address)
    assert counted(3, 4, 5) == [0, 0, 0]


ROUNDS = 40
SWITCHES = 300


def traffic(routed: Routed) -> Callable[[Stop], int]:
    """Conversations through the host, and packets of no connection, until told to stop."""

    def work(stop: Stop) -> int:
        packets = [
            packet
            for version in (4, 6)
            for packet in (*segments(version, "S", "R", "A", "SA"), datagram(version))
        ]
        frames = [
            ether(Routed.HOST_MAC, Routed.CLIENT_MAC, packet) for packet in packets
        ]
        with (
            routed.client.packet("eth0", receive=False) as wire,
            HOST.udp("10.1.0.1", OTHER_PORT) as sock,
            routed.client.udp(C4, OTHER_PORT) as peer,
        ):
            for side in (sock, peer):
                side.setblocking(False)
            while not stop:
                for frame in frames:
                    with contextlib.suppress(OSError):
                        wire.send(frame)
                for one, address in ((sock, C4), (peer, "10.1.0.1")):
                    with contextlib.suppress(OSError):
                        one.sendto(b"x", (address, OTHER_PORT))
                    with contextlib.suppress(OSError):
                        one.recv(10)
                stop.progress += 1
        return stop.progress

    return work


def churn(stop: Stop) -> int:
    """Namespaces that live for a packet or two."""
    while not stop:
        netns = Namespace.create_bare("short")
        up(netns, "lo")
        with netns.udp("127.0.0.1", PORT) as sock:
            with contextlib.suppress(PermissionError):
                sock.sendto(b"x", ("127.0.0.1", PORT))
        netns.delete()
        stop.progress += 1
    return stop.progress


def test_elsewhere_under_traffic(routed: Routed, tell: Callable[[str], None]) -> None:
    """A table that asks in fewer namespaces than the one before costs no connection a packet."""
    nft.load(
        "table inet hold { chain c { type filter hook input priority 0; ct state new; }; }"
    )
    there = ["deny state new dport 1 netns container"]
    here = [
        "allow state established netns host",
        f"deny proto udp dport {OTHER_PORT} netns host",
        *there,
    ]

    def converse(stop: Stop) -> int:
        with (
            HOST.udp("10.1.0.1", OTHER_PORT) as sock,
            routed.client.udp(C4, OTHER_PORT) as peer,
        ):
            for side in (sock, peer):
                side.settimeout(PATIENCE)
            while not stop:
                for one, other, address in ((peer, sock, "10.1.0.1"), (sock, peer, C4)):
                    one.sendto(b"x", (address, OTHER_PORT))
                    other.recv(10)
                stop.progress += 1
        return stop.progress

    try:
        with running(converse) as talking:
            until(lambda: talking.stop_flag.progress > 1, "both have said something")
            control.load_rules(*there)
            before = Status.read().hooks
            for _ in range(SWITCHES):
                control.load_rules(*here)
                control.load_rules(*there)
            rounds = talking.finish()
        dropped = [
            after.dropped - before[hook].dropped
            for hook, after in Status.read().hooks.items()
        ]
    finally:
        # What nft had loaded for that would hold it, too.
        nft.flush()
    control.load_rules()
    conntrack.remove()
    assert dropped == [0] * 5
    tell(f"{SWITCHES} times there and back, {rounds} rounds of packets")


def test_tables_come_and_go(routed: Routed, tell: Callable[[str], None]) -> None:
    """Tables with and without the word change under traffic, while namespaces come and go."""
    tables = (
        ["allow state { established, related }", "allow state new proto udp", "deny"],
        ["deny state invalid hook pre_routing netns host"],
        ["deny dport 1"],
        ["deny state new proto tcp netns container"],
        [],
    )
    with running(traffic(routed)) as sending, running(churn) as churning:
        until(
            lambda: min(each.stop_flag.progress for each in (sending, churning)),
            "both are at work",
        )
        for number in range(ROUNDS):
            control.load_rules(*tables[number % len(tables)])
            if number % 3:
                control.trace("state invalid dport 1")
            else:
                control.trace()
            if number % 10 == 9:
                module.unload()
                module.load()
        counts = sending.finish(), churning.finish()
    tell(f"{ROUNDS} tables, {counts[0]} rounds of packets, {counts[1]} namespaces")
    control.load_rules()
    control.trace()
    assert not any(
        conntrack.tracks(netns) for netns in (HOST, routed.client, routed.server)
    )
    assert conntrack.references() == 0
    conntrack.remove()
