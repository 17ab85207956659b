# SPDX-License-Identifier: GPL-2.0
"""The tables of Docker's nftables backend."""

from engines.published import published
from engines.rows.docker import Iptables, WithoutIptables
from lib import nft
from lib.scene import BOXES, DEFAULT, OLD, STACK, Scene


class Nftables(WithoutIptables):
    """Docker 29's other backend."""

    title = "Docker, nftables backend"
    boxes = BOXES
    packages = ("docker.io", "nftables")
    notes = (
        "No Debian release has Docker 29, the first one with this backend. A stand-in was tried: Docker 26 without "
        "rules of its own, and the tables `docker-bridges` that Docker 29 documents, loaded by nft.",
    )
    disturbances = (
        "restart_container",
        "networks_come_and_go",
        "restart_engine",
        "nft_flush",
    )

    def add_rules(self, scene: Scene) -> None:
        nft.load("".join(self.table(scene, version) for version in (4, 6)))

    def table(self, scene: Scene, version: int) -> str:
        """A family's table, as Docker's documentation has it."""
        ip = f"ip{'6' * (version == 6)}"
        networks = [
            n
            for n in (DEFAULT, STACK, OLD)
            if any(
                version in p.addresses for p in published(scene) if p.network == n.name
            )
        ]
        ports = [one for one in published(scene) if version in one.addresses]
        maps, chains, dnat, raw = "", "", "", ""
        for direction in (
            "filter-forward-in",
            "filter-forward-out",
            "nat-postrouting-in",
            "nat-postrouting-out",
        ):
            jumps = (f'"{n.bridge}" : jump {direction}__{n.bridge}' for n in networks)
            maps += f"map {direction}-jumps {{ type ifname : verdict; elements = {{ {', '.join(jumps)} }} }}\n"
        for network in networks:
            bridge = network.bridge
            subnet = f"{network.net4}.0/24" if version == 4 else f"{network.net6}::/64"
            opened = ""
            for one in ports:
                if one.network != network.name:
                    continue
                address = one.addresses[version]
                opened += f"{ip} daddr {address} {one.proto} dport {one.target} counter accept\n"
                dnat += (
                    f'iifname != "{bridge}" {one.proto} dport {one.port} counter '
                    f"dnat to {one.destination(version)}\n"
                )
                raw += f'{ip} daddr {address} iifname != "{bridge}" counter drop\n'
            chains += f"""
                chain filter-forward-in__{bridge} {{
                    ct state established,related counter accept
                    iifname "{bridge}" counter accept
                    {opened}
                    counter drop
                }}
                chain filter-forward-out__{bridge} {{
                    ct state established,related counter accept
                    counter accept
                }}
                chain nat-postrouting-in__{bridge} {{ }}
                chain nat-postrouting-out__{bridge} {{
                    oifname != "{bridge}" {ip} saddr {subnet} counter masquerade
                }}
            """
        loopback = "127.0.0.0/8" if version == 4 else "::1"
        return f"""
            table {ip} docker-bridges
            delete table {ip} docker-bridges
            table {ip} docker-bridges {{
                {chains}
                chain nat-prerouting-and-output {{
                    {dnat} }}
                {maps}
                chain filter-FORWARD {{
                    type filter hook forward priority filter; policy accept
                    oifname vmap @filter-forward-in-jumps
                    iifname vmap @filter-forward-out-jumps
                }}
                chain nat-OUTPUT {{
                    type nat hook output priority dstnat; policy accept
                    {ip} daddr != {loopback} fib daddr type local counter jump nat-prerouting-and-output
                }}
                chain nat-POSTROUTING {{
                    type nat hook postrouting priority srcnat; policy accept
                    iifname vmap @nat-postrouting-out-jumps
                    oifname vmap @nat-postrouting-in-jumps
                }}
                chain nat-PREROUTING {{
                    type nat hook prerouting priority dstnat; policy accept
                    fib daddr type local counter jump nat-prerouting-and-output
                }}
                chain raw-PREROUTING {{
                    type filter hook prerouting priority raw; policy accept
                    {raw} }}
            }}
        """

    def restart_container(self, scene: Scene) -> None:
        super().restart_container(scene)
        self.add_rules(scene)

    restart_container.__doc__ = Iptables.restart_container.__doc__
