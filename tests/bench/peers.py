# SPDX-License-Identifier: GPL-2.0
"""What is measured: ctrfw with its tables, and the peers, each in a namespace of its own."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import loop
from lib import control, module
from lib.netns import Namespace

SETS = Path("/ctrfw/build/bench/sets")
EMPTY_TABLE = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
EMPTY_CHAIN = (
    "table {} bench {{\nchain {} {{\ntype filter hook {} priority filter;\n}}\n}}\n"
)
# Enough for a million rules of five fields.
LIMITS = {
    "max_rules": 1_100_000,
    "max_values": 6_000_000,
    "max_bytes": 2_000_000_000,
}


@dataclass
class Traffic:
    """Packets, named by the file of SETS that they are in, and the hook that they are for.

    At most `first` of them, over and over.
    """

    name: str
    file: str
    hook: str = "forward"
    first: int | None = None

    def read(self) -> bytes:
        """The packets."""
        data = (SETS / self.file).read_bytes()
        return data if self.first is None else data[: self.first * 64]


@dataclass
class Subject:
    """One thing to measure. `enter` puts it in force, `leave` takes it away."""

    name: str
    rules: str
    traffic: list[Traffic]
    netns: Namespace | None = None
    parameters: dict[str, int] | None = None
    table: Path | None = None
    notes: str = ""
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def enter(self) -> None:
        """Puts it in force: peers are, in their namespaces, all the time."""
        if self.parameters is not None:
            module.load(**self.parameters)
            if self.table is not None:
                control.write(control.RULES, self.table.read_bytes())

    def leave(self) -> None:
        """Takes it away."""
        if self.parameters is not None:
            module.unload()


def caches() -> dict[str, dict[str, int]]:
    """How ctrfw is loaded, by what that is called: as it comes, and without its cache of flows."""
    if b"parm=flow_cache:" in module.KO.read_bytes():
        return {"ctrfw": LIMITS, "ctrfw, no flow cache": LIMITS | {"flow_cache": 0}}
    return {"ctrfw": LIMITS}


def native(rules: str, table: str | None, traffic: list[Traffic]) -> list[Subject]:
    """ctrfw with a table out of SETS."""
    path = None if table is None else SETS / table
    return [
        Subject(name, rules, traffic, parameters=parameters, table=path)
        for name, parameters in caches().items()
    ]


def peer(
    name: str, rules: str, traffic: list[Traffic], *steps: tuple[list[str], str]
) -> Subject:
    """A peer, set up by commands with what is written to them."""
    netns = Namespace.create_bare(f"{name} {rules}")
    loop.prepare(netns)
    for command, text in steps:
        netns.run(command, text)
    return Subject(name, rules, traffic, netns=netns)


def _nft(text: str) -> tuple[list[str], str]:
    return ["nft", "-f", "-"], text


def _restore(kind: str, text: str, family: str = "ip") -> tuple[list[str], str]:
    return [f"{family}tables-{kind}-restore"], text


def _file(name: str) -> str:
    return (SETS / name).read_text()


def packets_of(name: str) -> list[Traffic]:
    """One flow; a thousand flows; as many as there are."""
    return [
        Traffic("one flow", f"{name}.hot"),
        Traffic("1000 flows", f"{name}.packets", first=1000),
        Traffic("all flows", f"{name}.packets"),
    ]


def empty(sizes: str = "1k") -> list[Callable[[], list[Subject]]]:
    """Hooks with nothing in them, for both families, where packets are forwarded or received."""
    four, six = f"acl1_{sizes}.hot", f"acl1_{sizes}.ipv6.hot"
    every = [
        Traffic("one flow", four),
        Traffic("one flow, local_in", four, "local_in"),
        Traffic("one flow, IPv6", six),
        Traffic("one flow, IPv6, local_in", six, "local_in"),
    ]

    def chain() -> list[Subject]:
        text = "".join(
            EMPTY_CHAIN.format(family, hook, hook)
            for family in ("ip", "ip6")
            for hook in ("forward", "input")
        )
        return [peer("nft base chain", "empty", every, _nft(text))]

    def table(kind: str) -> Callable[[], list[Subject]]:
        return lambda: [
            peer(
                f"iptables-{kind}",
                "empty",
                every,
                _restore(kind, EMPTY_TABLE),
                _restore(kind, EMPTY_TABLE, "ip6"),
            )
        ]

    return [lambda: native("empty", None, every), chain, table("legacy"), table("nft")]


def classified(name: str, linear: bool) -> list[Callable[[], list[Subject]]]:
    """A set of rules for five fields; `linear` if the peers that go through all are wanted too."""
    traffic = packets_of(name)
    found: list[Callable[[], list[Subject]]] = [
        lambda: native(name, f"{name}.ctrfw", traffic)
    ]
    if linear:
        found.append(
            lambda: [peer("nft linear", name, traffic, _nft(_file(f"{name}.nft")))]
        )
        for kind in ("legacy", "nft"):
            found.append(
                lambda kind=kind: [
                    peer(
                        f"iptables-{kind}",
                        name,
                        traffic,
                        _restore(kind, _file(f"{name}.iptables")),
                    )
                ]
            )
    if (SETS / f"{name}.concat.nft").exists():

        def concat() -> list[Subject]:
            text = _file(f"{name}.concat.nft")
            made = peer("nft 5-field set", name, traffic, _nft(text))
            count = sum(" . " in line for line in text.splitlines()) - 2
            made.notes = f"; {count} of the rules fit into the set without overlapping"
            return [made]

        found.append(concat)
    return found


def ipv6(name: str) -> list[Callable[[], list[Subject]]]:
    """A set of rules for five fields of IPv6."""
    name = f"{name}.ipv6"
    traffic = packets_of(name)
    return [
        lambda: native(name, f"{name}.ctrfw", traffic),
        lambda: [peer("nft linear", name, traffic, _nft(_file(f"{name}.nft")))],
    ]


def members(size: str) -> list[Callable[[], list[Subject]]]:
    """A set of addresses."""
    name = f"members_{size}"
    traffic = packets_of(name)
    ipset = [
        (["ipset", "restore"], _file(f"{name}.ipset")),
        _restore("legacy", _file(f"{name}.iptables")),
    ]
    return [
        lambda: native(name, f"{name}.ctrfw", traffic),
        lambda: [peer("nft hash set", name, traffic, _nft(_file(f"{name}.hash.nft")))],
        lambda: [
            peer("nft interval set", name, traffic, _nft(_file(f"{name}.interval.nft")))
        ],
        lambda: [peer("ipset hash:net", name, traffic, *ipset)],
    ]


def modprobe() -> None:
    """Loads what peers would load themselves, so that no run pays for it."""
    for name in (
        "nf_tables",
        "iptable_filter",
        "ip6table_filter",
        "xt_set",
        "ip_set_hash_net",
    ):
        subprocess.run(["modprobe", name], check=True)
