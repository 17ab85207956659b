# SPDX-License-Identifier: GPL-2.0
"""No engine, and firewalld's zones, policies and forwarded ports."""

import contextlib
import itertools
from collections.abc import Iterator

from engines.published import published
from engines.row import Row
from lib import byhand, firewalld
from lib.command import run
from lib.scene import DEFAULT, OLD, STACK, Scene, built


class Alone(firewalld.Disturbances, Row):
    """A zone for containers, a policy out of it, and one into it."""

    title = "no engine, firewalld"
    packages = ("firewalld", "nftables")
    disturbances = (*firewalld.Disturbances.CHANGES, "nft_flush")

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with (
            firewalld.running() as self.daemon,
            byhand.running() as engine,
            built(engine, self.boxes) as scene,
        ):
            self.configure(scene)
            yield scene

    def configure(self, scene: Scene) -> None:
        """Permanently, and in force."""
        zone = ["--zone=containers"]
        zone += [f"--add-interface={n.bridge}" for n in (DEFAULT, STACK, OLD)]
        zone += ["--set-target=ACCEPT", "--add-forward"]
        ports = [
            f"--add-forward-port=port={one.port}:proto={one.proto}:toport={one.target}:toaddr={address}"
            for one in published(scene)
            for address in one.addresses.values()
        ]
        for words in (
            ["--new-zone=containers"],
            zone,
            ["--new-policy=out"],
            ["--policy=out", "--add-ingress-zone=containers", "--add-egress-zone=ANY"],
            ["--policy=out", "--set-target=ACCEPT", "--add-masquerade"],
            ["--new-policy=in"],
            ["--policy=in", "--add-ingress-zone=ANY", "--add-egress-zone=containers"],
            ["--policy=in", "--set-target=ACCEPT"],
            ["--zone=public", "--add-service=ssh", "--add-port=8080/tcp", *ports],
            ["--zone=trusted", *ports],
        ):
            # Words of different kinds cannot stand together.
            heads = [w for w in words if w.startswith(("--zone=", "--policy="))]
            rest = [w for w in words if w not in heads]
            for _, same in itertools.groupby(rest, lambda w: w.partition("=")[0]):
                run("firewall-cmd", "--permanent", *heads, *same)
        run("firewall-cmd", "--reload")
