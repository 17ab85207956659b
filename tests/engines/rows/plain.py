# SPDX-License-Identifier: GPL-2.0
"""No engine at all: the administrator's own rules, by each of the three tools."""

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from engines.published import published
from engines.row import Row
from lib import byhand, nft
from lib.netns import HOST
from lib.scene import NETWORKS, Scene, built

OUTSIDE = ("wan0", "lan0")


class Nft(Row):
    """One table, with a flowtable."""

    title = "no engine, nftables"
    packages = ("nftables",)
    notes = (
        "A flowtable takes packets of established flows past the host's PRE_ROUTING, FORWARD and POST_ROUTING hooks, ctrfw's with the others: "
        "a new table takes effect on such a flow when it has left the flowtable (`conntrack -F`, or 30 s of silence for UDP). "
        "Rules that hold in the containers' namespaces take effect at once.",
    )
    tests = (
        "test_empty.py",
        "test_policy.py",
        "test_flowtable.py",
        "test_disturbed.py",
    )
    disturbances = ("load_again", "nft_flush")

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with byhand.running() as engine, built(engine, self.boxes) as scene:
            self.load(scene)
            yield scene

    def load(self, scene: Scene) -> None:
        """Writes the rules."""
        dnat = "".join(
            f"fib daddr type local meta nfproto ipv{version} {one.proto} dport {one.port} "
            f"dnat ip{'6' * (version == 6)} to {one.destination(version)}\n"
            for one in published(scene)
            for version in one.addresses
        )
        # Of bridges it wants to be told the ports.
        ports = [
            f"v-{box.name}" for box in scene.boxes if not NETWORKS[box.network].parent
        ]
        nft.load(f"""
            table inet router
            delete table inet router
            table inet router {{
                flowtable fast {{
                    hook ingress priority filter
                    devices = {{ {", ".join((*OUTSIDE, *ports))} }}
                }}
                chain forward {{
                    type filter hook forward priority filter; policy drop
                    ct state established,related meta l4proto {{ tcp, udp }} flow add @fast
                    ct state vmap {{ established: accept, related: accept, invalid: drop }}
                    iifname {{ docker0, br-stack, br-old }} accept
                    oifname {{ docker0, br-stack, br-old }} accept
                    meta l4proto {{ icmp, ipv6-icmp }} accept
                    ct status dnat accept
                }}
                chain input {{
                    type filter hook input priority filter; policy drop
                    ct state established,related accept
                    iifname lo accept
                    meta l4proto {{ icmp, ipv6-icmp }} accept
                    th dport {{ 22, 8080, 8085, 8086 }} accept
                }}
                chain prerouting {{ type nat hook prerouting priority dstnat
                    {dnat} }}
                chain output {{ type nat hook output priority dstnat
                    {dnat} }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat
                    iifname {{ docker0, br-stack, br-old }} oifname {{ wan0, lan0 }} masquerade
                }}
            }}
        """)

    def load_again(self, scene: Scene) -> None:
        """the administrator's rules are loaded again"""
        for _ in range(5):
            self.load(scene)


class Iptables(Row):
    """Rules by iptables-nft."""

    title = "no engine, iptables-nft"
    packages = ("iptables",)
    flavour: ClassVar[str] = "nft"
    disturbances = ("load_again", "iptables_flush", "nft_flush")

    def tool(self, version: int) -> str:
        """Its name"""
        return f"ip{'6' * (version == 6)}tables-{self.flavour}"

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with byhand.running() as engine, built(engine, self.boxes) as scene:
            self.load(scene)
            try:
                yield scene
            finally:
                self.iptables_flush(scene)

    def load(self, scene: Scene) -> None:
        """Writes the rules."""
        for version in (4, 6):
            dnat = [
                f"-A {chain} -m addrtype --dst-type LOCAL -p {one.proto} --dport {one.port} "
                f"-j DNAT --to-destination {one.destination(version)}"
                for chain in ("PREROUTING", "OUTPUT")
                for one in published(scene)
                if version in one.addresses
            ]
            icmp = "icmp" if version == 4 else "ipv6-icmp"
            bridges = ("docker0", "br-stack", "br-old")
            lines = [
                "*nat",
                *dnat,
                *(f"-A POSTROUTING -o {device} -j MASQUERADE" for device in OUTSIDE),
                "COMMIT",
                "*filter",
                ":INPUT DROP",
                ":FORWARD DROP",
                "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                "-A INPUT -i lo -j ACCEPT",
                f"-A INPUT -p {icmp} -j ACCEPT",
                *(
                    f"-A INPUT -p {proto} -m multiport --dports 22,8080,8085,8086 -j ACCEPT"
                    for proto in ("tcp", "udp")
                ),
                "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                *(f"-A FORWARD -i {bridge} -j ACCEPT" for bridge in bridges),
                *(f"-A FORWARD -o {bridge} -j ACCEPT" for bridge in bridges),
                f"-A FORWARD -p {icmp} -j ACCEPT",
                "COMMIT",
            ]
            text = "".join(f"{line}\n" for line in lines)
            name = self.tool(version)
            HOST.run([f"{name}-restore"], text)

    def load_again(self, scene: Scene) -> None:
        """the administrator's rules are loaded again"""
        for _ in range(5):
            self.load(scene)

    def iptables_flush(self, scene: Scene) -> None:
        """iptables -F, -X, -P ACCEPT in all tables"""
        for version in (4, 6):
            self.flush(self.tool(version))


class Legacy(Iptables):
    """Rules by iptables-legacy."""

    title = "no engine, iptables-legacy"
    flavour = "legacy"
