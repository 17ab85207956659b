# SPDX-License-Identifier: GPL-2.0
"""What can be done in the same way by the clients of Docker and Podman."""

from typing import ClassVar

from engines.row import TESTS, Row, addresses, run
from lib.docker import IMAGE, first_process
from lib.netns import Namespace
from lib.scene import Box, Scene, Shared


class Client(Row):
    """An engine whose client has Docker's commands."""

    client: ClassVar[str]
    tests = (*TESTS[:-1], "test_names.py", TESTS[-1])
    disturbances = ("restart_container", "networks_come_and_go", *Row.disturbances)

    def resolve(self, box: str, name: str) -> str | None:
        try:
            return addresses(run(self.client, "exec", box, "nslookup", name))
        except RuntimeError:
            return "no answer"

    def restart_container(self, scene: Scene) -> None:
        """a container goes, and comes back with another address"""
        before = scene.addresses["old"]
        run(self.client, "rm", "-f", "old")
        # Somebody else has the address by then.
        run(self.client, "run", "-d", "--name", "filler", "--network", "old", IMAGE)
        scene.add(Box("old", "old", None, ("8083:8080",)))
        assert scene.addresses["old"] != before
        run(self.client, "rm", "-f", "filler")

    def networks_come_and_go(self, scene: Scene) -> None:
        """networks are created and deleted"""
        for number in range(2):
            words = ("--subnet", f"10.99.{number}.0/24")
            run(self.client, "network", "create", *words, f"n{number}")
        for number in range(2):
            run(self.client, "network", "rm", f"n{number}")

    def start_again(self, scene: Scene) -> None:
        """Starts all containers, which were stopped."""
        for box in scene.boxes:
            # What still holds its old namespace would hold its old macvlan device, too.
            scene.places.pop(box.name).delete()
            run(self.client, "start", box.name)
            pid = first_process(self.client, box.name)
            scene.take(box.name, Namespace.of_process(box.name, pid))
        run(self.client, "start", "shared")
        scene.places["shared"].delete()
        pid = first_process(self.client, "shared")
        scene.places["shared"] = Shared("shared", pid)
