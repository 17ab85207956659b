# SPDX-License-Identifier: GPL-2.0
"""Rule sets in the format of ClassBench, and what each engine makes of them.

Run as a program, in the build root: `rules.py FOLDER [FROM]` fills FOLDER with the sets that the
measurements want. For a set NAME (acl1_1k, say) these are NAME itself, taken from the folder FROM
if that has it, else generated; NAME.ctrfw, NAME.nft (one chain), NAME.concat.nft (one set of five
fields), NAME.iptables; NAME.packets, packets that the rules are for; NAME.hot, one of them.

What is generated resembles the three kinds of ClassBench in what it combines (measured on public
sets of a thousand rules): how long the prefixes are, and which ports with which protocol. Addresses
come from a few hundred networks, in which they share prefixes. All is the same in each run.
"""

import ipaddress
import json
import random
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

SIZES = {"10": 10, "100": 100, "1k": 1_000, "10k": 10_000, "100k": 100_000}
HUGE = {"1m": 1_000_000}
KINDS = ("acl1", "fw1", "ipc1")
ADDRESSES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
# More than any cache of flows will have.
PACKETS = 32_768
PACKET_LEN = 64

TCP, UDP, ICMP, GRE = 6, 17, 1, 47
ANY = 256
WITH_PORTS = (TCP, UDP)
ALL_PORTS = (0, 65535)
SERVICES = (
    21,
    22,
    23,
    25,
    53,
    69,
    80,
    110,
    123,
    143,
    161,
    389,
    443,
    445,
    514,
    993,
    1433,
    1521,
)
SERVICES += (1723, 2049, 3128, 3306, 3389, 5060, 5432, 6000, 6379, 8080, 8443, 9003)
RANGES = (
    (1024, 65535),
    (0, 1023),
    (6000, 6063),
    (1025, 5000),
    (8000, 8999),
    (137, 139),
)

Ports = tuple[int, int]


class Rule(NamedTuple):
    """Source and destination are (address, prefix length) of IPv4; ANY protocol has no ports."""

    src: tuple[int, int]
    dst: tuple[int, int]
    sport: Ports
    dport: Ports
    proto: int


_LINE = re.compile(
    r"@(\S+)/(\d+)\s+(\S+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+0x(..)/0x(..)"
)


def masked(addr: int, length: int) -> tuple[int, int]:
    """A network, host bits cleared."""
    return addr >> (32 - length) << (32 - length) if length else 0, length


def parse(path: Path) -> list[Rule]:
    """Reads a file of ClassBench; ports where the protocol has none are left out."""
    found = []
    with path.open() as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                raise ValueError(f"{path}: {line!r}")
            a, alen, b, blen, s0, s1, d0, d1, proto, mask = match.groups()
            number = int(proto, 16) if mask != "00" else ANY
            sport, dport = (int(s0), int(s1)), (int(d0), int(d1))
            if number not in WITH_PORTS:
                sport = dport = ALL_PORTS
            src = masked(int(ipaddress.IPv4Address(a)), int(alen))
            dst = masked(int(ipaddress.IPv4Address(b)), int(blen))
            found.append(Rule(src, dst, sport, dport, number))
    return found


def classbench(rule: Rule) -> str:
    """A rule as a line of ClassBench."""
    proto = "0x00/0x00" if rule.proto == ANY else f"0x{rule.proto:02x}/0xFF"
    (s0, s1), (d0, d1) = rule.sport, rule.dport
    ends = f"@{dotted(rule.src)}\t{dotted(rule.dst)}"
    return f"{ends}\t{s0} : {s1}\t{d0} : {d1}\t{proto}\t0x0000/0x0000\n"


def dotted(net: tuple[int, int]) -> str:
    """ADDRESS/LENGTH"""
    return f"{ipaddress.IPv4Address(net[0])}/{net[1]}"


class Kind(NamedTuple):
    """Weights: of pairs of prefix lengths, and of (protocol, source ports, destination ports)."""

    lengths: dict[tuple[int, int], int]
    traffic: dict[tuple[int, str, str], int]


# `*` any port, `=` one, `-` a range
KIND = {
    "acl1": Kind(
        {
            (32, 32): 27,
            (31, 32): 12,
            (32, 31): 11,
            (32, 22): 4,
            (31, 31): 4,
            (23, 32): 4,
        }
        | {(32, 30): 4, (31, 22): 3, (31, 23): 2, (30, 32): 2, (32, 24): 2, (24, 31): 2}
        | {(28, 32): 6, (30, 30): 5, (27, 31): 6, (24, 24): 4, (16, 32): 2},
        {
            (TCP, "*", "="): 57,
            (TCP, "*", "*"): 16,
            (TCP, "*", "-"): 11,
            (ANY, "*", "*"): 7,
        }
        | {(ICMP, "*", "*"): 2, (UDP, "*", "="): 4, (UDP, "=", "="): 3},
    ),
    "fw1": Kind(
        {(0, 31): 15, (0, 32): 13, (1, 32): 10, (1, 31): 7, (0, 30): 6, (31, 0): 5}
        | {(32, 0): 4, (2, 32): 3, (32, 1): 2, (30, 0): 2, (1, 0): 1, (0, 0): 1}
        | {(24, 32): 8, (16, 28): 8, (32, 32): 8, (8, 30): 7},
        {
            (TCP, "*", "="): 42,
            (UDP, "*", "="): 14,
            (UDP, "=", "*"): 9,
            (TCP, "*", "*"): 8,
        }
        | {
            (GRE, "*", "*"): 7,
            (ICMP, "*", "*"): 5,
            (TCP, "-", "-"): 3,
            (UDP, "=", "="): 3,
        }
        | {
            (UDP, "-", "-"): 3,
            (UDP, "-", "="): 2,
            (TCP, "=", "-"): 2,
            (ANY, "*", "*"): 2,
        },
    ),
    "ipc1": Kind(
        {(32, 32): 10, (31, 32): 5, (23, 32): 4, (32, 31): 4, (24, 32): 3, (24, 24): 3}
        | {(24, 23): 3, (23, 24): 3, (32, 24): 2, (0, 32): 2, (0, 31): 2, (25, 32): 2}
        | {(28, 28): 12, (27, 26): 12, (30, 24): 12, (16, 24): 9, (22, 30): 12},
        {
            (ANY, "*", "*"): 33,
            (UDP, "*", "="): 21,
            (TCP, "*", "="): 12,
            (UDP, "=", "*"): 8,
        }
        | {
            (TCP, "=", "*"): 8,
            (UDP, "*", "-"): 6,
            (TCP, "*", "*"): 3,
            (TCP, "*", "-"): 3,
        }
        | {(TCP, "-", "*"): 2, (ICMP, "*", "*"): 2, (UDP, "=", "="): 2},
    ),
}


def _addresses(draw: random.Random, count: int) -> Callable[[], int]:
    """Draws addresses out of networks that they share prefixes in."""
    networks = [draw.getrandbits(16) << 16 for _ in range(max(4, min(count // 8, 400)))]
    subnets = [
        draw.choice(networks) | draw.getrandbits(8) << 8
        for _ in range(max(8, count // 4))
    ]
    return lambda: draw.choice(subnets) | draw.getrandbits(8)


def _ports(draw: random.Random, what: str) -> Ports:
    if what == "*":
        return ALL_PORTS
    if what == "-":
        if draw.random() < 0.8:
            return draw.choice(RANGES)
        first = draw.randrange(1024, 60000)
        return first, first + draw.randrange(1, 5000)
    port = draw.choice(SERVICES) if draw.random() < 0.7 else draw.randrange(1024, 65536)
    return port, port


def generate(kind: str, count: int) -> list[Rule]:
    """So many different rules, the longer prefixes first among neighbours, as ClassBench has it."""
    draw = random.Random(f"{kind} {count}")
    source, destination = _addresses(draw, count), _addresses(draw, count)
    weights = KIND[kind]
    lengths, length_weights = list(weights.lengths), list(weights.lengths.values())
    traffic, traffic_weights = list(weights.traffic), list(weights.traffic.values())
    found: dict[Rule, None] = {}
    while len(found) < count:
        (slen, dlen) = draw.choices(lengths, length_weights)[0]
        proto, sport, dport = draw.choices(traffic, traffic_weights)[0]
        rule = Rule(
            masked(source(), slen),
            masked(destination(), dlen),
            _ports(draw, sport),
            _ports(draw, dport),
            proto,
        )
        # What is for half of all packets would leave nothing to the rules behind it.
        if slen + dlen >= 8 or (
            rule.proto in WITH_PORTS and rule.dport[0] == rule.dport[1]
        ):
            found[rule] = None
    return sorted(found, key=lambda r: (r.src[1] + r.dst[1]) // 16, reverse=True)


def _words(net: tuple[int, int], word: str) -> str:
    return f" {word} {dotted(net)}" if net[1] else ""


def _range(ports: Ports, join: str) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}{join}{ports[1]}"


_NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp"}


def ctrfw6(rules: list[Rule]) -> Iterator[str]:
    """The same between the addresses that address6() makes of these."""
    for line in ctrfw(rules):
        yield _IPV4.sub(lambda m: _network6(m[1], int(m[2])), line)


def nft6(rules: list[Rule]) -> Iterator[str]:
    """One base chain of family ip6, likewise."""
    for line in nft(rules):
        line = _IPV4.sub(lambda m: _network6(m[1], int(m[2])), line)
        yield (
            line.replace("table ip ", "table ip6 ")
            .replace("ip saddr", "ip6 saddr")
            .replace("ip daddr", "ip6 daddr")
        )


_IPV4 = re.compile(r"(\d+\.\d+\.\d+\.\d+)/(\d+)")


def _network6(addr: str, length: int) -> str:
    upper = address6(int(ipaddress.IPv4Address(addr))) >> 64 << 64
    return f"{ipaddress.IPv6Address(upper)}/{32 + length}"


def ctrfw(rules: list[Rule]) -> Iterator[str]:
    """The table that says it, in ctrfw's language."""
    for rule in rules:
        text = "allow" + _words(rule.src, "from") + _words(rule.dst, "to")
        if rule.proto != ANY:
            text += f" proto {_NAMES.get(rule.proto, rule.proto)}"
        for key, ports in (("sport", rule.sport), ("dport", rule.dport)):
            if ports != ALL_PORTS:
                text += f" {key} {_range(ports, '-')}"
        yield text + "\n"


NFT_CHAIN = "type filter hook forward priority filter; policy accept;"


def nft(rules: list[Rule]) -> Iterator[str]:
    """One base chain with all of the rules."""
    yield f"table ip bench {{\nchain forward {{\n{NFT_CHAIN}\n"
    for rule in rules:
        text = _words(rule.src, "ip saddr") + _words(rule.dst, "ip daddr")
        named = _NAMES.get(rule.proto, "")
        if rule.proto != ANY and (rule.sport, rule.dport) == (ALL_PORTS, ALL_PORTS):
            text += f" meta l4proto {rule.proto}"
        for key, ports in (("sport", rule.sport), ("dport", rule.dport)):
            if ports != ALL_PORTS:
                text += f" {named} {key} {_range(ports, '-')}"
        yield text + " accept\n"
    yield "}\n}\n"


Interval = tuple[int, int]


def _intervals(rule: Rule) -> tuple[Interval, ...]:
    nets = tuple(
        (a, a + (1 << (32 - length)) - 1) for a, length in (rule.src, rule.dst)
    )
    proto = (0, 255) if rule.proto == ANY else (rule.proto, rule.proto)
    return (*nets, proto, rule.sport, rule.dport)


def disjoint(rules: list[Rule]) -> list[Rule]:
    """Those that a concatenated set takes: neither end of one may be in one before it."""
    taken: dict[tuple[int, int], dict[tuple[int, int], list[tuple[Interval, ...]]]] = {}

    def hit(point: tuple[int, ...]) -> bool:
        for (slen, dlen), nets in taken.items():
            key = (masked(point[0], slen)[0], masked(point[1], dlen)[0])
            for other in nets.get(key, ()):
                if all(lo <= p <= hi for p, (lo, hi) in zip(point[2:], other[2:])):
                    return True
        return False

    found = []
    for rule in rules:
        ranges = _intervals(rule)
        if hit(tuple(lo for lo, _ in ranges)) or hit(tuple(hi for _, hi in ranges)):
            continue
        nets = taken.setdefault((rule.src[1], rule.dst[1]), {})
        nets.setdefault((rule.src[0], rule.dst[0]), []).append(ranges)
        found.append(rule)
    return found


def concat(rules: list[Rule]) -> Iterator[str]:
    """One base chain with one rule, for a set of all five fields."""
    kind = "ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service"
    yield f"table ip bench {{\nset rules {{\ntype {kind}\nflags interval\nelements = {{\n"
    for rule in disjoint(rules):
        proto = "0-255" if rule.proto == ANY else str(rule.proto)
        fields = [dotted(rule.src), dotted(rule.dst), proto]
        fields += [_range(ports, "-") for ports in (rule.sport, rule.dport)]
        yield " . ".join(fields) + ",\n"
    yield "}\n}\n"
    fields = "ip saddr . ip daddr . ip protocol . th sport . th dport"
    yield f"chain forward {{\n{NFT_CHAIN}\n{fields} @rules accept\n}}\n}}\n"


def iptables(rules: list[Rule]) -> Iterator[str]:
    """For iptables-legacy-restore and iptables-nft-restore."""
    yield "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    for rule in rules:
        text = "-A FORWARD" + _words(rule.src, "-s") + _words(rule.dst, "-d")
        if rule.proto != ANY:
            text += f" -p {_NAMES.get(rule.proto, rule.proto)}"
        if (rule.sport, rule.dport) != (ALL_PORTS, ALL_PORTS):
            text += f" -m {_NAMES[rule.proto]}"
        for key, ports in (("--sport", rule.sport), ("--dport", rule.dport)):
            if ports != ALL_PORTS:
                text += f" {key} {_range(ports, ':')}"
        yield text + " -j ACCEPT\n"
    yield "COMMIT\n"


def _transport(proto: int, sport: int, dport: int, room: int) -> bytes:
    if proto == TCP:
        return struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 5 << 4, 0x10, 1024, 0, 0)
    if proto == UDP:
        return struct.pack(">HHHH", sport, dport, room, 0)
    return struct.pack(">BBHHH", 8, 0, 0, 1, 1)


def packet(src: int, dst: int, proto: int, sport: int, dport: int) -> bytes:
    """An IPv4 packet of PACKET_LEN bytes."""
    head = struct.pack(">BBHHHBBHII", 0x45, 0, PACKET_LEN, 1, 0, 64, proto, 0, src, dst)
    tail = _transport(proto, sport, dport, PACKET_LEN - len(head))
    return (head + tail).ljust(PACKET_LEN, b"\0")


def packet6(src: int, dst: int, proto: int, sport: int, dport: int) -> bytes:
    """The same of IPv6, between the addresses that address6() makes of these."""
    head = struct.pack(">IHBB", 6 << 28, PACKET_LEN - 40, proto, 64)
    ends = b"".join(ipaddress.IPv6Address(address6(a)).packed for a in (src, dst))
    tail = _transport(proto, sport, dport, PACKET_LEN - 40)
    return (head + ends + tail).ljust(PACKET_LEN, b"\0")


def address6(addr: int) -> int:
    """An address of IPv6 for one of IPv4."""
    return 0x20010DB8 << 96 | addr << 64 | 1


def within(rule: Rule, draw: random.Random) -> tuple[int, int, int, int, int]:
    """A point that a rule is for, each as likely as any other."""
    ends = [
        net | draw.getrandbits(32) >> length for net, length in (rule.src, rule.dst)
    ]
    proto = draw.choice(WITH_PORTS) if rule.proto == ANY else rule.proto
    return ends[0], ends[1], proto, draw.randint(*rule.sport), draw.randint(*rule.dport)


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w") as file:
        file.writelines(lines)


def _set(folder: Path, source: Path | None, kind: str, size: str, count: int) -> bool:
    """Makes all of one set; whether it was found and not generated."""
    name = f"{kind}_{size}"
    path = folder / name
    found = source is not None and (source / name).exists()
    rules = (
        parse(source / name) if source is not None and found else generate(kind, count)
    )
    _write(path, map(classbench, rules))
    _write(folder / f"{name}.ctrfw", ctrfw(rules))
    if size in HUGE:
        return found
    _write(folder / f"{name}.nft", nft(rules))
    _write(folder / f"{name}.iptables", iptables(rules))
    if size in ("1k", "10k"):
        _write(folder / f"{name}.concat.nft", concat(rules))
    draw = random.Random(f"packets {name}")
    points = [within(draw.choice(rules), draw) for _ in range(PACKETS)]
    (folder / f"{name}.packets").write_bytes(b"".join(packet(*p) for p in points))
    middle = within(rules[len(rules) // 2], draw)
    (folder / f"{name}.hot").write_bytes(packet(*middle))
    if size == "1k":
        _write(folder / f"{name}.ipv6.ctrfw", ctrfw6(rules))
        _write(folder / f"{name}.ipv6.nft", nft6(rules))
        (folder / f"{name}.ipv6.packets").write_bytes(
            b"".join(packet6(*p) for p in points)
        )
        (folder / f"{name}.ipv6.hot").write_bytes(packet6(*middle))
    return found


def _members(folder: Path, size: str, count: int) -> None:
    """A set of so many addresses, as each engine has it, and packets for them."""
    draw = random.Random(f"members {size}")
    source = _addresses(draw, count)
    addresses: dict[int, None] = {}
    while len(addresses) < count:
        addresses[source()] = None
    names = [str(ipaddress.IPv4Address(a)) for a in addresses]
    # Every other is a network, but for a hash of nft's, which has none.
    nets = {masked(a, 32 if i % 2 else 28): None for i, a in enumerate(addresses)}
    # Of nets within one another nft keeps one only.
    apart = [n for n in nets if n[1] == 28 or masked(n[0], 28) not in nets]
    prefixes = [dotted(n) for n in apart]
    path = folder / f"members_{size}"
    for flag, elements in (("hash", names), ("interval", prefixes)):
        flags = "flags interval" if flag == "interval" else ""
        text = f"table ip bench {{\nset members {{\ntype ipv4_addr\n{flags}\nelements = {{\n"
        text += ",\n".join(elements) + "}\n}\n"
        text += f"chain forward {{\n{NFT_CHAIN}\nip daddr @members accept\n}}\n}}\n"
        Path(f"{path}.{flag}.nft").write_text(text)
    head = f"create members hash:net family inet maxelem {count}\n"
    text = head + "".join(f"add members {p}\n" for p in prefixes)
    Path(f"{path}.ipset").write_text(text)
    rule = "-A FORWARD -m set --match-set members dst -j ACCEPT\n"
    Path(f"{path}.iptables").write_text(
        f"*filter\n:FORWARD ACCEPT [0:0]\n{rule}COMMIT\n"
    )
    table = "set members {\n" + ",\n".join(prefixes) + "\n}\nallow to @members\n"
    Path(f"{path}.ctrfw").write_text(table)
    points = draw.choices(list(addresses), k=PACKETS)
    data = b"".join(packet(0xC0000201, a, TCP, 40000, 443) for a in points)
    Path(f"{path}.packets").write_bytes(data)
    Path(f"{path}.hot").write_bytes(data[:PACKET_LEN])


def main() -> None:
    """Fills a folder."""
    folder = Path(sys.argv[1])
    source = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    found = {}
    for kind in KINDS:
        for size, count in SIZES.items():
            found[f"{kind}_{size}"] = _set(folder, source, kind, size, count)
    for size, count in HUGE.items():
        found[f"acl1_{size}"] = _set(folder, source, "acl1", size, count)
    for size, count in ADDRESSES.items():
        _members(folder, size, count)
    text = {name: "public" if known else "generated" for name, known in found.items()}
    (folder / "origin.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
