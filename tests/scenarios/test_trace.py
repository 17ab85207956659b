# SPDX-License-Identifier: GPL-2.0
"""The trace: who is traced, what the lines say, how many there are.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

The paths through the hooks are the subject of test_paths.py, packets that are hard to read that
of test_packets.py.
"""

import itertools
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest

from lib import control, module
from lib.background import Stop, running
from lib.control import SENTINEL_RULE, Status
from lib.kmsg import Kmsg
from lib.netns import Namespace, created
from lib.packets import ICMP, IP, TCP, ipv4, ipv6
from lib.poll import until
from lib.topology import Routed
from lib.trace import LEFT_OUT, PREFIX, TraceLine, Tracer, left_out_of, lines_of

C4, S4, C6, S6 = "10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"
PORTS = b"\x9c\x40\x00\x07\x00\x08\x00\x00"
THROUGH = ["PRE_ROUTING", "FORWARD", "POST_ROUTING"]


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def through(net: Routed, tracer: Tracer, *packets: bytes) -> list[TraceLine]:
    """Sends packets through the host; the lines of the trace about the host's hooks."""
    tracer.skip()
    net.forwarded(*packets)
    lines = [line for line in tracer.lines() if line.host and line.src in (C4, C6)]
    return [line for line in lines if line.dpt != control.SENTINEL_PORT]


def test_nothing_is_traced_until_asked(net: Routed, tracer: Tracer) -> None:
    """No line before an expression is written, and none after it is taken back."""
    packet = ipv4(C4, S4, 17, PORTS)
    assert through(net, tracer, packet) == []
    control.trace("proto udp dport 7")
    assert [line.hook for line in through(net, tracer, packet)] == THROUGH
    for off in ("off\n", ""):
        control.trace("proto udp dport 7")
        control.write(control.TRACE, off)
        assert through(net, tracer, packet) == []
        assert Status.read().trace == 0


UDP4 = ipv4(C4, S4, 17, PORTS)
UDP6 = ipv6(C6, S6, 17, PORTS)
TCP4 = ipv4(C4, S4, 6, PORTS + bytes(12))
# Expressions -> how many lines for UDP4, UDP6 and TCP4 together there are at the host's hooks
FILTERS = {
    ("all",): 9,
    ("from 10.1.0.0/24",): 6,
    ("from ::/0",): 3,
    ("to 10.2.0.2",): 6,
    ("to fd00:2::/64",): 3,
    ("proto udp",): 6,
    ("proto tcp",): 3,
    ("proto icmp",): 0,
    ("sport 40000",): 9,
    ("dport 1-6",): 0,
    ("dport 7 proto tcp",): 3,
    ("in cl0 hook pre_routing",): 3,
    ("out srv0",): 6,
    ("in srv*",): 0,
    ("hook forward",): 3,
    ("hook input,output",): 0,
    ("netns host",): 9,
    ("netns container",): 0,
    # Of several any will do, and a packet that two of them mean has one line.
    ("proto tcp", "hook forward"): 5,
    ("proto udp hook forward", "proto tcp hook forward"): 3,
}


@pytest.mark.parametrize("expressions", FILTERS, ids=" + ".join)
def test_filter(net: Routed, tracer: Tracer, expressions: tuple[str, ...]) -> None:
    """Each word chooses packets as it does in a rule."""
    control.trace(*expressions)
    lines = through(net, tracer, UDP4, TCP4) + through(net, tracer, UDP6)
    assert len(lines) == FILTERS[expressions]


def test_filter_by_inode(tracer: Tracer) -> None:
    """A namespace's number chooses that namespace alone."""
    with created("one", "two") as (one, two):
        control.trace(f"proto udp dport 4000 netns {one.inode}")
        for netns in (one, two):
            with netns.udp("127.0.0.1", 4000) as sock:
                sock.sendto(b"x", ("127.0.0.1", 4000))
                sock.recv(1)
        lines = tracer.lines()
        assert {line.netns for line in lines} == {one.inode}
        assert len(lines) == 4


def test_verdict_and_rule(net: Routed, tracer: Tracer) -> None:
    """Which rule decided, or that none did; a denied packet's path ends there."""
    control.load_rules(
        SENTINEL_RULE,
        "allow dport 7 hook pre_routing",
        "allow proto tcp",
        "deny dport 7 hook forward",
        "default allow",
    )
    control.trace("all")
    assert [
        (line.hook, line.verdict, line.rule) for line in through(net, tracer, UDP4)
    ] == [
        ("PRE_ROUTING", "allow", "2"),
        ("FORWARD", "deny", "4"),
    ]
    assert [(line.verdict, line.rule) for line in through(net, tracer, TCP4)] == [
        ("allow", "2"),
        ("allow", "3"),
        ("allow", "3"),
    ]
    control.load_rules(SENTINEL_RULE, "default deny netns host")
    assert [
        (line.hook, line.verdict, line.rule) for line in through(net, tracer, UDP6)
    ] == [("PRE_ROUTING", "deny", "default")]


def test_fields_of_tcp(net: Routed, tracer: Tracer) -> None:
    """Each flag by its name, in one order; no flag at all is a dash."""
    control.trace("proto tcp hook forward")
    flags = {"F": "FIN", "S": "SYN", "R": "RST", "P": "PSH", "A": "ACK", "U": "URG",
             "E": "ECE", "C": "CWR"}  # fmt: skip
    wanted = [*flags, "", "SA", "FPU", "FSRPAUEC"]
    for letters in wanted:
        packet = bytes(
            IP(src=C4, dst=S4) / TCP(sport=1025, dport=65535, flags=letters) / b"data"
        )
        (line,) = through(net, tracer, packet)
        assert line.flags == (",".join(flags[letter] for letter in letters) or "-")
        assert (line.proto, line.spt, line.dpt, line.len) == ("TCP", 1025, 65535, 44)
        assert (line.type, line.code, line.frag, line.unparsed) == (None,) * 4


def test_fields_of_others(net: Routed, tracer: Tracer) -> None:
    """Ports for those that have them, type and code for ICMP, nothing for the rest."""
    control.trace("hook forward")
    expected = {
        17: ("UDP", 40000, 7, None, None),
        132: ("SCTP", 40000, 7, None, None),
        33: ("DCCP", 40000, 7, None, None),
        136: ("UDPLITE", 40000, 7, None, None),
        1: ("ICMP", None, None, 156, 64),
        47: ("GRE", None, None, None, None),
        50: ("ESP", None, None, None, None),
        253: ("253", None, None, None, None),
    }
    for number, fields in expected.items():
        (line,) = through(net, tracer, ipv4(C4, S4, number, PORTS))
        assert (line.proto, line.spt, line.dpt, line.type, line.code) == fields
        assert (line.flags, line.len) == (None, 28)
    (line,) = through(net, tracer, ipv6(C6, S6, 58, b"\x80\x00" + bytes(6)))
    assert (line.proto, line.type, line.code, line.len) == ("ICMPv6", 128, 0, 48)
    (line,) = through(net, tracer, bytes(IP(src=C4, dst=S4) / ICMP(type=3, code=13)))
    assert (line.proto, line.type, line.code) == ("ICMP", 3, 13)


ADDRESSES = {
    # address: as %pI6c prints it
    "::": "::",
    "2001:db8::": "2001:db8::",
    "2001:db8::1": "2001:db8::1",
    "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
    "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
    "2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
    "1::8": "1::8",
    "::ffff:192.0.2.33": "::ffff:192.0.2.33",
    "::ffff:0.0.0.0": "::ffff:0.0.0.0",
    "::192.0.2.33": "::c000:221",
    "fe80::5efe:192.0.2.33": "fe80::5efe:192.0.2.33",
    "2001:db8::200:5efe:192.0.2.33": "2001:db8::200:5efe:192.0.2.33",
    "2001:db8::5eff:192.0.2.33": "2001:db8::5eff:c000:221",
}


def test_addresses(net: Routed, tracer: Tracer) -> None:
    """Addresses as the kernel prints them."""
    control.trace("hook pre_routing proto udp dport 7 netns host")
    for address, printed in ADDRESSES.items():
        net.inject(ipv6(address, "2001:db8:51::1", 17, PORTS))
        (line,) = until(tracer.lines, f"the line of {address}")
        assert line.src == printed
        assert line.dst == "2001:db8:51::1"
    net.inject(ipv4("0.0.0.0", "255.255.255.255", 17, PORTS))
    (line,) = until(tracer.lines, "the line")
    assert (line.src, line.dst) == ("0.0.0.0", "255.255.255.255")


def test_ids(net: Routed, tracer: Tracer) -> None:
    """A packet keeps its id from hook to hook, and no id shows where kernel memory is."""
    control.trace("netns host dport 7")
    packets = [ipv4(C4, S4, 17, PORTS) for _ in range(20)]
    lines = through(net, tracer, *packets)
    assert len(lines) == 3 * len(packets)
    for three in itertools.batched(lines, 3):
        assert len({line.id for line in three}) == 1
        assert [line.hook for line in three] == THROUGH
    # A hashed pointer has 32 bits; addresses of kernel memory begin with ones.
    assert all(re.fullmatch("0{8}[0-9a-f]{8}", line.id) for line in lines)
    assert all(line.id != "0" * 16 for line in lines)


# Names that an interface can have, and how they must be printed.
HOSTILE = {
    b"a=b": "a=b",
    b"x\x1b[31m": r"x\x1b[31m",
    b"\x01\x02\x7f": r"\x01\x02\x7f",
    b"back\\slash": r"back\x5cslash",
    b"-": r"\x2d",
    b"\xc3\xa9th0": r"\xc3\xa9th0",
    b"'\"$(id)": "'\"$(id)",
    b"{}": "{}",
    b"verdict=deny": "verdict=deny",
    b"123456789012345": "123456789012345",
}


@pytest.mark.parametrize("name", HOSTILE, ids=HOSTILE.get)
def test_hostile_interface_names(tracer: Tracer, name: bytes) -> None:
    """A container chooses its interfaces' names: none may pass for something else."""
    with created("evil") as (evil,):
        add_dummy(evil, name)
        evil.run(["ip", "addr", "add", "192.0.2.9/24", "dev", name])
        evil.run(["ip", "link", "set", name, "arp", "off", "up"])
        control.trace(f"proto udp dport 7 hook local_out netns {evil.inode}")
        assert Routed.sends(evil, "192.0.2.10")
        (line,) = tracer.lines()
        assert (line.input, line.output, line.dev) == ("-", HOSTILE[name], "-")
        control.trace(f"proto udp dport 7 hook post_routing netns {evil.inode}")
        assert Routed.sends(evil, "192.0.2.10")
        (line,) = tracer.lines()
        assert (line.output, line.dev) == (HOSTILE[name], HOSTILE[name])


def add_dummy(netns: Namespace, name: bytes) -> None:
    """Adds a device by netlink: ip(8) would not let all such names pass."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("@HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    rtm_newlink, flags = 16, 0x1 | 0x4 | 0x200 | 0x400
    body = (
        bytes(16) + attribute(3, name + b"\0") + attribute(18, attribute(1, b"dummy\0"))
    )
    message = struct.pack("@IHHII", 16 + len(body), rtm_newlink, flags, 1, 0) + body
    with netns.make_socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.send(message)
        (error,) = struct.unpack_from("@i", sock.recv(4096), 16)
    assert error == 0, f"no device {name!r}: errno {-error}"


def send_many(netns: Namespace, count: int) -> None:
    """Sends datagrams that nobody waits for."""
    with netns.udp("127.0.0.1") as sock:
        for _ in range(count):
            sock.sendto(b"x", ("127.0.0.1", 4000))


@pytest.mark.parameters(trace_bytes=1)
def test_switched_under_traffic() -> None:
    """Turning the trace on and off patches the hooks' code while another CPU runs through it."""
    with created("one") as (one,):

        def send(stop: Stop) -> int:
            while not stop:
                send_many(one, 10)
                stop.progress += 10
            return stop.progress

        before = Status.read()
        with running(send) as child:
            for _ in range(200):
                seen = child.stop_flag.progress
                control.trace("proto esp")
                control.trace()
                until(lambda s=seen: child.stop_flag.progress > s, "packets go on")
            sent = child.finish()
        after = Status.read()
        assert after.hooks["local_out"].seen - before.hooks["local_out"].seen >= sent
        assert (after.printed, after.left_out) == (before.printed, before.left_out)


@pytest.mark.parameters(trace_rate=5, trace_burst=20)
def test_rate_limit(tracer: Tracer) -> None:
    """No more lines than the limit allows, and every line left out is accounted for."""
    count = 500
    with created("one") as (one,):
        control.trace(f"proto udp dport 4000 hook local_out netns {one.inode}")
        start = time.monotonic()
        send_many(one, count)
        seconds = time.monotonic() - start
        texts = tracer.texts()
        status = Status.read()
        assert status.printed + status.left_out == count
        assert status.printed == len(lines_of(texts))
        assert 20 <= status.printed <= 20 + 5 * seconds + 1
        # When there is room again, the next line tells how many there were. The log as a whole
        # then accounts for every packet.
        total = count

        def told() -> bool:
            nonlocal total
            total += 1
            send_many(one, 1)
            texts.extend(tracer.texts())
            return len(lines_of(texts)) > status.printed

        until(told, "a line after the pause")
        assert len(lines_of(texts)) + left_out_of(texts) == total
        # ... and it does so right before that line.
        *_, before, last = (text for text in texts if text.startswith("ctrfw: trace"))
        assert LEFT_OUT.fullmatch(before)
        assert last.startswith(PREFIX)
        end = Status.read()
        assert (end.printed, end.printed + end.left_out) == (
            len(lines_of(texts)),
            total,
        )


@pytest.mark.parameters(trace_rate=1000000, trace_burst=300)
def test_burst(tracer: Tracer) -> None:
    """What fits the burst is printed to the last line."""
    with created("one") as (one,):
        control.trace(f"proto udp dport 4000 hook local_out netns {one.inode}")
        send_many(one, 300)
        texts = tracer.texts()
        assert len(lines_of(texts)) == 300
        assert left_out_of(texts) == 0
        assert Status.read().left_out == 0


def test_default_limit(tracer: Tracer) -> None:
    """Without parameters: 400 lines at once, which the log has room for, then 100 a second."""
    module.unload()
    module.load()
    with created("one") as (one,):
        control.trace(f"proto udp dport 4000 hook local_out netns {one.inode}")
        start = time.monotonic()
        send_many(one, 1000)
        seconds = time.monotonic() - start
    status = Status.read()
    assert status.printed + status.left_out == 1000
    assert len(tracer.lines()) == status.printed
    assert 400 <= status.printed <= 400 + 100 * seconds + 1


def test_level_and_prefix(net: Routed) -> None:
    """Lines are of level "info", and of the kernel's facility."""
    with Kmsg() as log:
        control.trace("hook forward proto udp dport 7")
        net.forwarded(UDP4)
        control.flush()
        (record,) = [
            record for record in log.records() if record.text.startswith(PREFIX)
        ]
        assert (record.level, record.facility) == (6, 0)


def test_dmesg_shows_it(net: Routed) -> None:
    """The user's way: dmesg."""
    control.trace("hook forward proto udp dport 54321 netns host")
    net.forwarded(ipv4(C4, S4, 17, b"\x9c\x40\xd4\x31\x00\x08\x00\x00"))
    control.flush()
    log = subprocess.run(["dmesg"], capture_output=True, check=True).stdout
    assert log.count(b"dpt=54321 ") == 1


def test_tracing_does_not_change_verdicts(net: Routed) -> None:
    """The same packets pass and the same are stopped with and without a trace."""
    control.load_rules(SENTINEL_RULE, "deny proto tcp hook forward")
    for expressions in ((), ("all",), ("proto tcp",)):
        control.trace(*expressions)
        assert net.forwarded(UDP4, TCP4) == [True, False]
