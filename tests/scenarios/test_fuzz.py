# SPDX-License-Identifier: GPL-2.0
"""Random packets: the module survives them, and accounts for every one.

    client (10.1.0.2)  ---  cl0  host  srv0  ---  server (10.2.0.2)

The same packets every time: the seed is fixed. What they are made of is right just so often that
they get somewhere. A witness in nft, right behind ctrfw in all three namespaces, counts what
comes past it: seen minus dropped must be the same number, at each hook.
"""

import random
from collections.abc import Callable, Iterator

import pytest

from lib import control, module, nft
from lib.control import SENTINEL_PORT, SENTINEL_RULE, Status
from lib.netns import HOST
from lib.packets import ether, ipv4, ipv6
from lib.topology import Routed
from lib.trace import Tracer
from lib.txring import TxRing

SEED = 20250611
COUNT = 3000

EXTENSIONS = (0, 43, 44, 51, 60)
PROTOCOLS = (1, 6, 6, 17, 17, 33, 41, 47, 50, 58, 59, 132, 136, 255)

# Every word, in rules that some of the packets meet
RULES = (
    SENTINEL_RULE,
    "deny proto tcp dport 0-1000 hook pre_routing",
    "deny proto udp sport 30000-40000 in cl*",
    "allow proto icmp from 10.1.0.0/24",
    "deny dport 50000-60000 hook forward netns host",
    "allow to fd00:2::/64 proto 60",
    "deny from 10.1.0.128/25 to 10.0.0.0/8 proto 47 in cl0 hook pre_routing",
    "deny proto sctp sport 5 dport 7 in cl0 out srv0 hook forward netns host",
    "deny from fd00:1::/64 dport 1-9999 netns host",
    "default deny hook local_in netns container",
)


@pytest.fixture(scope="module")
def net() -> Iterator[Routed]:
    """One network for all."""
    with Routed() as network:
        yield network


def any_ipv4(rng: random.Random) -> bytes:
    """An IPv4 packet that is right but for what is not."""
    destination = rng.choice(["10.2.0.2", "10.2.0.2", "10.1.0.1", "198.51.100.9"])
    source = f"10.1.{rng.choice([0, 0, 0, 7])}.{rng.randrange(2, 250)}"
    options = rng.choice([b"", b"", b"\1" * 4, rng.randbytes(4 * rng.randrange(1, 11))])
    payload = rng.randbytes(
        rng.choice([0, 1, 2, 3, 4, 8, 13, 20, 60, rng.randrange(1400)])
    )
    packet = bytearray(
        ipv4(
            source,
            destination,
            rng.choice([*PROTOCOLS, rng.randrange(256)]),
            payload,
            options=options,
            offset=rng.choice([0, 0, 0, 8, 16, 8 * rng.randrange(8000)]),
            more=rng.random() < 0.2,
        )
    )
    spoil(rng, packet)
    return bytes(packet)


def any_ipv6(rng: random.Random) -> bytes:
    """An IPv6 packet with a chain of headers that mostly hold together."""
    destination = rng.choice(["fd00:2::2", "fd00:2::2", "fd00:1::1", "2001:db8:51::9"])
    kinds = rng.choices(EXTENSIONS, k=rng.choice([0, 0, 1, 2, 3, 5, 18]))
    last = rng.choice([*PROTOCOLS, rng.randrange(256)])
    chain = b""
    for kind, following in zip(kinds, [*kinds[1:], last], strict=False):
        if kind == 44:
            offset = rng.choice([0, 0, 8, 8 * rng.randrange(8000)])
            field = (offset | rng.randrange(2)).to_bytes(2)
            chain += bytes([following, 0]) + field + rng.randbytes(4)
        elif kind == 51:
            chain += bytes([following, 4]) + rng.randbytes(22)
        else:
            size = rng.choice(
                [0, 0, 1, 3, rng.randrange(256) if rng.random() < 0.1 else 0]
            )
            chain += bytes([following, size, 1, min(size * 8 + 4, 255)]) + bytes(
                size * 8 + 4 if rng.random() < 0.95 else rng.randrange(8)
            )
    payload = rng.randbytes(rng.choice([0, 1, 3, 4, 8, 20, 60]))
    packet = bytearray(
        ipv6(
            "fd00:1::2",
            destination,
            kinds[0] if kinds else last,
            (chain + payload)[:1400],
        )
    )
    spoil(rng, packet)
    return bytes(packet)


def spoil(rng: random.Random, packet: bytearray) -> None:
    """Now and then a byte is wrong, or the end is missing."""
    if rng.random() < 0.1:
        packet[rng.randrange(len(packet))] = rng.randrange(256)
    if rng.random() < 0.1:
        del packet[rng.randrange(1, len(packet)) :]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", ["linear", "pages"])
def test_fuzz(
    net: Routed, tracer: Tracer, tell: Callable[[str], None], version: int, way: str
) -> None:
    """Thousands of packets under rules and trace: all counted, and the host goes on."""
    module.unload()
    module.load(trace_rate=10, trace_burst=1000)
    rng = random.Random(SEED + version)
    generate = any_ipv4 if version == 4 else any_ipv6
    packets = [generate(rng) for _ in range(COUNT if way == "linear" else COUNT // 4)]
    frames = [ether(net.HOST_MAC, net.CLIENT_MAC, packet) for packet in packets]
    control.load_rules(*RULES)
    control.trace("all")
    with nft.Witness(HOST, net.client, net.server) as witness:
        before = Status.read()
        send(net, frames, way)
        control.trace()
        # The host still works.
        body = bytes([0, 1, 0, SENTINEL_PORT, 0, 8, 0, 0])
        assert net.forwarded(ipv4("10.1.0.2", "10.2.0.2", 17, body)) == [True]
        assert witness.differences() == {}
    after = Status.read()
    change = after.hooks["pre_routing"] - before.hooks["pre_routing"]
    tell(
        f"{len(packets)} packets; at PRE_ROUTING seen {change.seen}, dropped {change.dropped}, "
        f"unparsed {change.unparsed}"
    )
    # The packets were not in vain: most got there, some were refused, some could not be read.
    assert change.seen > len(packets) // 2
    assert change.dropped > len(packets) // 100
    assert change.unparsed > len(packets) // 100
    # And every line of the trace is well-formed, or accounted for.
    assert len(tracer.lines()) == after.printed >= 1000
    assert after.left_out > 0


# Everything is answered that can be, wherever it comes to.
REJECTING = {
    "reset or port": "reject hook {} netns host",
    "ICMP for all": "reject with icmp-admin-prohibited hook {} netns host",
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("answer", REJECTING)
@pytest.mark.parametrize(
    "hook", ["pre_routing", "local_in", "forward", "post_routing", "local_out"]
)
def test_fuzz_rejected(net: Routed, hook: str, answer: str, version: int) -> None:
    """Thousands of packets that the kernel is to answer: it takes from us what it can bear."""
    net.host.sysctl("ipv4/icmp_ratelimit", 0)
    net.host.sysctl("ipv6/icmp/ratelimit", 0)
    rng = random.Random(SEED + version)
    generate = any_ipv4 if version == 4 else any_ipv6
    packets = [generate(rng) for _ in range(COUNT // 4)]
    frames = [ether(net.HOST_MAC, net.CLIENT_MAC, packet) for packet in packets]
    control.load_rules(SENTINEL_RULE, REJECTING[answer].format(hook))
    for way in ("linear", "pages"):
        send(net, frames, way)
    body = bytes([0, 1, 0, SENTINEL_PORT, 0, 8, 0, 0])
    assert net.forwarded(ipv4("10.1.0.2", "10.2.0.2", 17, body)) == [True]
    rejected = control.counters()[1].packets
    assert rejected > 0 or hook == "local_out"


def send(net: Routed, frames: list[bytes], way: str) -> None:
    """Puts frames on the client's wire."""
    if way == "pages":
        ring = TxRing(net.client, "eth0")
        for frame in frames:
            ring.send(frame)
        ring.close()
        return
    with net.client.packet("eth0", receive=False) as wire:
        for frame in frames:
            wire.send(frame)
