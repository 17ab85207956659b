# SPDX-License-Identifier: GPL-2.0
"""`reject`: what is refused, and what its sender is told.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

and, for bridged packets, a client and a web server on one bridge of the host. Proven, for both
families: the answer is the one that the rule names, at each hook that can make one; a sender on
the same machine has his error from the system call, or a reset; what must not be answered is
dropped in silence; an answer is never answered; the kernel's modules that make the answers are
held as long as a table needs them, and no longer.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import control, module
from lib.background import Stop, running
from lib.control import Status
from lib.netns import HOST, Namespace, put
from lib.packets import ICMP, IP, TCP, UDP, IPv6, ether, ipv4, ipv6
from lib.poll import PATIENCE, until
from lib.topology import ADDRESSES, MACS, Published, Routed, bridge_calls
from lib.trace import TraceLine, Tracer

C4, H4, S4 = "10.1.0.2", "10.1.0.1", "10.2.0.2"
C6, H6, S6 = "fd00:1::2", "fd00:1::1", "fd00:2::2"
MODULES = ("nf_reject_ipv4", "nf_reject_ipv6")

# To tell when all answers have come: a packet that is answered in any case.
PROBE_PORT = 7777
PROBE = (
    f"reject with tcp-reset proto tcp dport {PROBE_PORT} hook pre_routing netns host"
)

# What a rule names: ICMP's code (of type 3), ICMPv6's (of type 1)
CODES = {
    "icmp-net-unreachable": (0, 0),
    "icmp-host-unreachable": (1, 3),
    "icmp-proto-unreachable": (2, 4),
    "icmp-port-unreachable": (3, 4),
    "icmp-net-prohibited": (9, 1),
    "icmp-host-prohibited": (10, 1),
    "icmp-admin-prohibited": (13, 1),
}

RST = 4


def unlimited(netns: Namespace) -> None:
    """Lifts the kernel's own limits for ICMP errors."""
    netns.sysctl("ipv4/icmp_ratelimit", 0)
    netns.sysctl("ipv4/icmp_msgs_per_sec", 1_000_000)
    netns.sysctl("ipv4/icmp_msgs_burst", 1_000_000)
    netns.sysctl("ipv6/icmp/ratelimit", 0)


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all that is routed."""
    with Routed() as network:
        for netns in (HOST, network.client, network.server):
            unlimited(netns)
        yield network


@pytest.fixture(scope="module")
def bridged() -> Iterator[Published]:
    """The bridge, whose packets br_netfilter shows to the hooks."""
    HOST.run(["modprobe", "br_netfilter"])
    with Published() as network:
        bridge_calls(1)
        for netns in network.namespaces:
            unlimited(netns)
        yield network


class Answer:
    """What came back, as far as it tells the sender anything."""

    def __init__(self, packet: bytes) -> None:
        self.version = packet[0] >> 4
        first, proto = (20, packet[9]) if self.version == 4 else (40, packet[6])
        self.source = packet[12:16] if self.version == 4 else packet[8:24]
        self.body = packet[first:]
        self.icmp = self.rst = None
        if proto in (1, 58):
            self.icmp = (self.body[0], self.body[1])
        elif proto == 6 and self.body[13] & RST:
            sport, dport, seq, ack = struct.unpack_from("!HHII", self.body)
            self.rst = (sport, dport, seq, ack)

    def __repr__(self) -> str:
        return f"<{self.version} icmp {self.icmp} rst {self.rst}>"


_ports = iter(range(20000, 60000))


def tcp(source: str, target: str, dport: int, flags: str = "S", **more: int) -> bytes:
    """A TCP segment with nothing wrong about it."""
    layer = IPv6 if ":" in source else IP
    segment = TCP(sport=next(_ports), dport=dport, flags=flags, **more)
    return bytes(layer(src=source, dst=target) / segment)


def udp(source: str, target: str, dport: int = 7) -> bytes:
    """A datagram with nothing wrong about it."""
    layer = IPv6 if ":" in source else IP
    return bytes(layer(src=source, dst=target) / UDP(sport=40000, dport=dport) / b"hi")


def answers(net: Routed, *packets: bytes, mac: str = Routed.HOST_MAC) -> list[Answer]:
    """What the host answers to packets from the client's wire, in frames for `mac`."""
    version = packets[0][0] >> 4
    probe = tcp(C4, H4, PROBE_PORT, seq=1) if version == 4 else tcp(C6, H6, PROBE_PORT)
    port = int.from_bytes(probe[20:22] if version == 4 else probe[40:42])
    found = []
    with net.client.packet("eth0") as wire:
        for packet in packets:
            wire.send(ether(mac, Routed.CLIENT_MAC, packet))
        net.inject(probe)
        while True:
            frame = wire.recv(4096)
            if frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
                continue
            # Reports of multicast groups, with hop-by-hop options, may come at any time.
            if frame[12:14] == b"\x86\xdd" and frame[20] == 0:
                continue
            answer = Answer(frame[14:])
            if answer.rst and answer.rst[1] == port:
                return found
            found.append(answer)


def target(version: int, hook: str) -> str:
    """Where packets go that come to a hook of the host."""
    return {4: (S4, H4), 6: (S6, H6)}[version][hook == "local_in"]


ROUTER_HOOKS = ("pre_routing", "local_in", "forward", "post_routing")


@pytest.mark.parametrize("hook", ROUTER_HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_reset(net: Routed, version: int, hook: str) -> None:
    """A SYN is answered by a reset that acknowledges it, from the address it was for."""
    control.load_rules(PROBE, f"reject proto tcp dport 22 hook {hook} netns host")
    source, to = C4 if version == 4 else C6, target(version, hook)
    syn = tcp(source, to, 22, seq=1000)
    (answer,) = answers(net, syn)
    sport = int.from_bytes(syn[20:22] if version == 4 else syn[40:42])
    assert answer.rst == (22, sport, 0, 1001)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    assert answer.source == socket.inet_pton(family, to)
    # In the middle of a connection the reset has the number that its sender waits for.
    (answer,) = answers(net, tcp(source, to, 22, "PA", seq=1000, ack=77))
    assert answer.rst and answer.rst[2] == 77
    assert control.counters()[1].packets == 2


@pytest.mark.parametrize("hook", ROUTER_HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_unreachable(net: Routed, version: int, hook: str) -> None:
    """Anything but TCP is answered by "port unreachable", which quotes it."""
    control.load_rules(PROBE, f"reject proto udp dport 7 hook {hook} netns host")
    source, to = C4 if version == 4 else C6, target(version, hook)
    datagram = udp(source, to)
    before = Status.read().hooks[hook]
    (answer,) = answers(net, datagram)
    assert answer.icmp == ((3, 3) if version == 4 else (1, 4))
    assert b"hi" in answer.body
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    own = H4 if version == 4 else H6
    assert answer.source == socket.inet_pton(family, own)
    assert (Status.read().hooks[hook] - before).dropped >= 1
    assert control.counters()[1].packets == 1


@pytest.mark.parametrize("word", CODES)
@pytest.mark.parametrize("version", [4, 6])
def test_with(net: Routed, version: int, word: str) -> None:
    """Each word's code, for any protocol; one word serves both families."""
    control.load_rules(PROBE, f"reject with {word} hook forward netns host")
    source, to = (C4, S4) if version == 4 else (C6, S6)
    make, kind = (ipv4, 3) if version == 4 else (ipv6, 1)
    code = CODES[word][version == 6]
    packets = (udp(source, to), tcp(source, to, 22), make(source, to, 47, bytes(8)))
    assert [a.icmp for a in answers(net, *packets)] == [(kind, code)] * 3


@pytest.mark.parametrize("version", [4, 6])
def test_default_reject(net: Routed, version: int) -> None:
    """A default answers as a rule does."""
    control.load_rules(PROBE, "default reject hook forward netns host")
    source, to = (C4, S4) if version == 4 else (C6, S6)
    found = answers(net, udp(source, to), tcp(source, to, 22))
    assert found[0].icmp == ((3, 3) if version == 4 else (1, 4))
    assert found[1].rst
    control.load_rules(PROBE, "default reject with icmp-admin-prohibited hook forward")
    found = answers(net, udp(source, to), tcp(source, to, 22))
    assert [a.icmp for a in found] == [(3, 13) if version == 4 else (1, 1)] * 2


def echo_of(source: str, to: str) -> bytes:
    """A ping, which is no error and may be answered by one."""
    return bytes(IP(src=source, dst=to) / ICMP(type=8))


def broken(packet: bytes) -> bytes:
    """The packet with its last byte changed, and no checksum that fits."""
    return packet[:-1] + bytes([packet[-1] ^ 1])


QUOTED = ipv4(S4, C4, 17, struct.pack("!HHHH", 7, 40000, 8, 0))
QUOTED6 = ipv6(S6, C6, 17, struct.pack("!HHHH", 7, 40000, 8, 0))
UDP_PIECE = b"\x9c\x40\x00\x07\x00\x40\x00\x00"

# Packets that nobody may answer, by version
SILENT: dict[str, list[bytes]] = {
    "later fragment": [
        ipv4(C4, S4, 17, UDP_PIECE, offset=1480),
        ipv6(C6, S6, 44, struct.pack("!BBHI", 17, 0, 1480, 7) + UDP_PIECE),
    ],
    "later fragment of TCP": [
        ipv4(C4, S4, 6, bytes(40), offset=1480, more=True),
        ipv6(C6, S6, 44, struct.pack("!BBHI", 6, 0, 1480 | 1, 7) + bytes(40)),
    ],
    "reset": [tcp(C4, S4, 22, "R"), tcp(C6, S6, 22, "R")],
    "reset that acknowledges": [tcp(C4, S4, 22, "RA"), tcp(C6, S6, 22, "RA")],
    "ICMP error": [
        bytes(IP(src=C4, dst=S4) / ICMP(type=3, code=3) / QUOTED),
        bytes(IP(src=C4, dst=S4) / ICMP(type=11) / QUOTED),
        ipv6(C6, S6, 58, b"\x01\x04\x00\x00\0\0\0\0" + QUOTED6),
        ipv6(C6, S6, 58, b"\x03\x00\x00\x00\0\0\0\0" + QUOTED6),
    ],
    "bad checksum": [
        broken(tcp(C4, S4, 22)),
        broken(udp(C4, S4)),
        broken(tcp(C6, S6, 22)),
        broken(udp(C6, S6)),
    ],
    "to many": [
        tcp(C4, "224.0.0.251", 22),
        udp(C4, "239.1.1.1"),
        tcp(C4, "255.255.255.255", 22),
        tcp(C4, "10.1.0.255", 22),
        udp(C4, "10.1.0.255"),
        tcp(C6, "ff0e::1", 22),
        udp(C6, "ff0e::1"),
    ],
    "from nobody, or from us": [
        tcp("0.0.0.0", S4, 22),
        tcp("224.0.0.251", S4, 22),
        tcp("255.255.255.255", S4, 22),
        tcp("127.0.0.1", H4, 22),
        udp("127.0.0.1", H4),
        tcp("10.2.0.1", H4, 22),
        udp("10.2.0.1", H4),
        tcp("::", S6, 22),
        tcp("ff0e::1", S6, 22),
        tcp("fd00:2::1", H6, 22),
        udp("fd00:2::1", H6),
    ],
    "unparsed": [ipv4(C4, S4, 6, b"\0\x16\0"), ipv6(C6, S6, 6, b"\0\x16\0")],
}


@pytest.mark.parametrize("hook", ["pre_routing", "pre_routing,local_in,forward"])
@pytest.mark.parametrize("kind", SILENT)
def test_silence(net: Routed, kind: str, hook: str) -> None:
    """What must not be answered is dropped, and that is all."""
    control.load_rules(PROBE, f"reject hook {hook} netns host")
    for version in (4, 6):
        packets = [p for p in SILENT[kind] if p[0] >> 4 == version]
        seen = lo_packets()
        assert answers(net, *packets) == []
        assert lo_packets() == seen, "an answer went to ourselves"


def test_silence_does_not_hide_a_deaf_test(net: Routed) -> None:
    """Packets of the same makings that may be answered, are."""
    control.load_rules(PROBE, "reject hook pre_routing netns host")
    good = [tcp(C4, S4, 22), udp(C4, S4), echo_of(C4, S4)]
    assert [bool(a.rst) for a in answers(net, *good)] == [True, False, False]
    first = ipv4(C4, S4, 17, UDP_PIECE[:6] + b"\0\0" + bytes(56), more=True)
    assert [a.icmp for a in answers(net, first)] == [(3, 3)]
    assert len(answers(net, tcp(C6, S6, 22), udp(C6, S6))) == 2


def test_silence_for_frames_to_many(net: Routed) -> None:
    """A packet in a frame that was for everybody is not answered, whatever its address."""
    control.load_rules(PROBE, "reject dport 7-99 hook pre_routing netns host")
    for packet in (tcp(C4, S4, 22), udp(C4, S4), tcp(C6, S6, 22), udp(C6, S6)):
        for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
            before = control.counters()[1].packets
            assert answers(net, packet, mac=mac) == []
            assert control.counters()[1].packets - before == 1
        assert len(answers(net, packet)) == 1


def lo_packets() -> int:
    """How many packets the host has sent to itself."""
    for line in HOST.read("dev").splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[1])
    raise AssertionError("no loopback device")


def connect(netns: Namespace, address: str, port: int) -> None:
    """Opens a TCP connection, and fails as it fails."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.make_socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((address, port))


def ask(netns: Namespace, address: str, port: int = 7) -> None:
    """Sends a datagram and waits for the answer."""
    with netns.udp("::" if ":" in address else "0.0.0.0") as sock:
        sock.connect((address, port))
        sock.send(b"hello")
        sock.recv(100)


@pytest.mark.parametrize("hook", ROUTER_HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_refused_at_once(net: Routed, version: int, hook: str) -> None:
    """Programs hear of it: TCP by its first segment, UDP by its first datagram."""
    control.load_rules(
        f"reject proto tcp dport 22 hook {hook} netns host",
        f"reject proto udp dport 7 hook {hook} netns host",
    )
    to = target(version, hook)
    with pytest.raises(ConnectionRefusedError):
        connect(net.client, to, 22)
    with pytest.raises(ConnectionRefusedError):
        ask(net.client, to)
    assert [c.packets for c in control.counters()[:2]] == [1, 1]


@pytest.mark.parametrize("hook", ["local_out", "post_routing"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("where", ["host", "container"])
def test_own_sender(net: Routed, version: int, hook: str, where: str) -> None:
    """On the sender's own machine TCP is reset, and the others have EPERM and no packet."""
    netns = HOST if where == "host" else net.client
    to = (C4 if version == 4 else C6) if where == "host" else target(version, "")
    control.load_rules(
        f"reject proto tcp dport 22 hook {hook} netns {netns.inode}",
        f"reject proto udp dport 7 hook {hook} netns {netns.inode}",
    )
    with pytest.raises(ConnectionRefusedError):
        connect(netns, to, 22)
    with netns.udp("::" if version == 6 else "0.0.0.0") as sock:
        sock.connect((to, 7))
        with pytest.raises(PermissionError):
            sock.send(b"hello")
        # No error waits for its turn.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert [c.packets for c in control.counters()[:2]] == [1, 1]


@pytest.mark.parametrize("version", [4, 6])
def test_own_sender_with_icmp(net: Routed, version: int) -> None:
    """A connection that is refused by ICMP on the sender's own machine does not hang either."""
    to = S4 if version == 4 else S6
    control.load_rules(
        f"reject with icmp-admin-prohibited proto tcp dport 22 netns {net.client.inode}"
    )
    with pytest.raises(OSError) as caught:
        connect(net.client, to, 22)
    assert caught.value.errno in (errno.EHOSTUNREACH, errno.EACCES, errno.ECONNREFUSED)


BRIDGE_HOOKS = ("pre_routing", "forward", "post_routing")


@pytest.mark.parametrize("hook", BRIDGE_HOOKS)
@pytest.mark.parametrize("version", [4, 6])
def test_bridged(bridged: Published, version: int, hook: str) -> None:
    """What is only bridged is answered, too."""
    web = ADDRESSES[version]["web"]
    bridged.connect(bridged.client, version, "web", 8080).close()
    control.load_rules(
        f"reject proto tcp dport 8080 hook {hook} netns host",
        f"reject proto udp dport 7 hook {hook} netns host",
    )
    with bridged.client.packet("eth0") as wire:
        with pytest.raises(ConnectionRefusedError):
            connect(bridged.client, web, 8080)
        # The reset comes as if the other end had sent it, to the Ethernet address.
        resets = 0
        wire.setblocking(False)
        while True:
            try:
                frame = wire.recv(2048)
            except BlockingIOError:
                break
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd") and Answer(frame[14:]).rst:
                assert frame[6:12] == bytes.fromhex(MACS["web"].replace(":", ""))
                resets += 1
        assert resets == 1
    with pytest.raises(ConnectionRefusedError):
        ask(bridged.client, web)
    assert [c.packets for c in control.counters()[:2]] == [1, 1]


@pytest.mark.parametrize("hook", BRIDGE_HOOKS)
def test_bridged_with_options(bridged: Published, hook: str) -> None:
    """IP options of bridged packets are no trap: their place in the buffer is not IP's there."""
    control.load_rules(
        "reject with icmp-host-prohibited proto udp dport 7 "
        f"hook {hook} netns host from {ADDRESSES[4]['client']}"
    )
    body = struct.pack("!HHHH", 40000, 7, 8, 0)
    # Record route, with room for three addresses
    options = b"\x07\x0f\x04" + bytes(12) + b"\x01"
    packet = ipv4(
        ADDRESSES[4]["client"], ADDRESSES[4]["web"], 17, body, options=options
    )
    with (
        bridged.client.packet("eth0", receive=False) as out,
        bridged.client.packet("eth0") as wire,
    ):
        out.send(ether(MACS["web"], MACS["client"], packet))

        def answered() -> bool:
            frame = wire.recv(2048)
            return frame[12:14] == b"\x08\x00" and Answer(frame[14:]).icmp == (3, 10)

        until(answered, "the answer")


@pytest.mark.parametrize("version", [4, 6])
def test_published_port(bridged: Published, version: int) -> None:
    """Behind DNAT the answer has the address that the sender knows."""
    # Its end would be counted if it came first.
    with bridged.connect(bridged.ext, version, "host", 8081):
        control.load_rules("reject proto tcp dport 8080 hook forward netns host")
        with pytest.raises(ConnectionRefusedError):
            connect(bridged.ext, ADDRESSES[version]["host"], 8081)
        assert control.counters()[0].packets == 1
    control.load_rules(
        "reject with icmp-port-unreachable proto tcp dport 8080 hook forward netns host"
    )
    with pytest.raises(ConnectionRefusedError):
        connect(bridged.ext, ADDRESSES[version]["host"], 8081)


@pytest.mark.parametrize("version", [4, 6])
def test_no_answer_to_an_answer(net: Routed, version: int) -> None:
    """An answer that is rejected itself is dropped, counted, and not answered."""
    source, to = (C4, S4) if version == 4 else (C6, S6)
    icmp = "icmp" if version == 4 else "icmpv6"
    control.load_rules(
        f"allow proto tcp sport {PROBE_PORT}",
        PROBE,
        "reject with icmp-host-prohibited proto tcp sport 22 hook local_out netns host",
        f"reject proto {icmp} hook local_out netns host",
        "reject proto tcp dport 22 hook forward netns host",
        "reject proto udp dport 7 hook forward netns host",
    )
    assert answers(net, tcp(source, to, 22), udp(source, to)) == []
    assert [c.packets for c in control.counters()[2:6]] == [1, 1, 1, 1]
    # Whatever comes, there and everywhere.
    control.load_rules("reject with icmp-net-prohibited", "default reject")
    net.inject(*[tcp(source, to, 22), udp(source, to)] * 100)
    with pytest.raises(OSError):
        ask(HOST, source)
    control.load_rules(PROBE, "default reject")
    net.inject(*[tcp(source, to, 22), udp(source, to)] * 100)
    with pytest.raises(OSError):
        ask(HOST, source)


def test_trace(net: Routed, tracer: Tracer) -> None:
    """The trace shows the packet that was rejected, and its answer on the way."""
    control.load_rules("reject with icmp-host-prohibited proto udp dport 7 hook forward netns host")  # fmt: skip
    control.trace("netns host proto udp dport 7", "netns host proto icmp")
    net.inject(udp(C4, S4))
    lines: list[TraceLine] = []
    until(lambda: lines.extend(tracer.lines()) or len(lines) == 4, "four lines")
    assert [(line.hook, line.verdict, line.rule) for line in lines] == [
        ("PRE_ROUTING", "allow", "default"),
        ("FORWARD", "reject", "1"),
        ("LOCAL_OUT", "allow", "default"),
        ("POST_ROUTING", "allow", "default"),
    ]
    assert [(line.type, line.code) for line in lines[2:]] == [(3, 10)] * 2


def references(name: str) -> int:
    """How often a module is held; -1 if it is not there."""
    path = Path(f"/sys/module/{name}/refcnt")
    return int(path.read_text()) if path.exists() else -1


def release() -> None:
    """Unloads the modules that answer, if they are there."""
    for name in MODULES:
        if references(name) >= 0:
            module.remove(name)


def test_modules_are_held_as_long_as_needed() -> None:
    """A table that rejects brings the kernel's modules, holds them, and lets them go."""
    control.load_rules("deny proto tcp dport 22")
    release()
    control.load_rules("allow", "deny", "default deny")
    assert [references(name) for name in MODULES] == [-1, -1]
    for table in (["reject dport 1"], ["default reject"], ["allow", "reject"]):
        control.load_rules(*table)
        assert all(references(name) > 0 for name in MODULES)
        for name in MODULES:
            with pytest.raises(OSError):
                module.remove(name)
        held = [references(name) for name in MODULES]
        # Another such table takes over; one that is added to stays what it is.
        control.load_rules(*table)
        assert [references(name) for name in MODULES] == held
        control.load_rules("deny dport 2", append=True)
        assert [references(name) for name in MODULES] == held
        # A text that is refused after all leaves nothing behind.
        with pytest.raises(OSError):
            control.load_rules("reject", "nonsense")
        assert [references(name) for name in MODULES] == held
        control.load_rules("deny")
        assert [references(name) for name in MODULES] == [0, 0]
    control.load_rules("reject dport 1", append=True)
    assert all(references(name) > 0 for name in MODULES)
    module.unload()
    assert [references(name) for name in MODULES] == [0, 0]
    release()
    module.ensure()


def test_refused_without_the_modules(no_modprobe: None) -> None:
    """Where the modules are not to be had the table is refused as a whole, and says so."""
    control.load_rules("deny dport 1")
    release()
    generation = Status.read().generation
    for lines in (
        ["allow dport 2", "reject dport 3"],
        ["allow dport 2", "default reject"],
    ):
        with pytest.raises(OSError) as caught:
            control.load_rules(*lines)
        assert caught.value.errno == errno.EOPNOTSUPP
        status = Status.read()
        assert status.last_error == (
            "rules line 2: reject needs the kernel's modules nf_reject_ipv4 and "
            "nf_reject_ipv6, which cannot be loaded"
        )
        assert status.generation == generation
        assert control.rules() == ["deny dport 1"]
    assert [references(name) for name in MODULES] == [-1, -1]
    # One of the two is not enough, and is let go.
    HOST.run(["modprobe", "nf_reject_ipv4"])
    with pytest.raises(OSError):
        control.load_rules("reject")
    assert references("nf_reject_ipv4") == 0
    HOST.run(["modprobe", "nf_reject_ipv6"])
    control.load_rules("reject dport 1")


def test_storm(net: Routed) -> None:
    """Rejected packets without end, tables that come and go, rmmod: nothing hangs."""
    packets = [
        tcp(C4, S4, 22),
        udp(C4, S4),
        tcp(C4, H4, 22),
        tcp(C6, S6, 22),
        udp(C6, S6),
        udp(C6, H6),
    ]
    frames = [ether(Routed.HOST_MAC, Routed.CLIENT_MAC, packet) for packet in packets]

    def storm(stop: Stop) -> int:
        with net.client.packet("eth0", receive=False) as wire:
            while not stop:
                for frame in frames:
                    put(wire, frame)
                stop.progress += len(frames)
        return stop.progress

    tables = [
        ["reject"],
        ["reject with icmp-net-prohibited"],
        ["deny"],
        ["default reject"],
        ["reject hook pre_routing"],
        ["reject hook forward,local_in"],
        ["reject hook local_out,post_routing", "reject proto tcp hook forward"],
        [],
    ]
    rounds = 3 if module.TCG else 10
    with running(storm) as child:
        count = child.stop_flag
        for _ in range(rounds):
            for table in tables:
                before = count.progress
                control.load_rules(*table)
                until(lambda b=before: count.progress > b + 100, "the storm goes on")
            module.unload()
            module.ensure()
        child.finish()
    control.load_rules(PROBE, "reject proto tcp dport 22 hook forward netns host")
    # What is left of the storm may still be answered.
    syn = tcp(C4, S4, 22)
    found = [answer.rst[1] for answer in answers(net, syn) if answer.rst]
    assert found.count(int.from_bytes(syn[20:22])) == 1
    control.load_rules()
    release()
