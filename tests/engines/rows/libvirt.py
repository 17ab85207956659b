# SPDX-License-Identifier: GPL-2.0
"""libvirt's default network next to Docker."""

import contextlib
from collections.abc import Iterator

from engines.row import Row
from engines.rows.docker import Iptables
from lib import libvirt
from lib.netns import HOST
from lib.scene import BOXES, Scene


class BesideDocker(Iptables):
    """A guest that no policy speaks of."""

    title = "libvirt's default network, next to Docker"
    boxes = BOXES
    packages = ("libvirt-daemon", "docker.io", "nftables")
    notes = (
        "A network namespace plugged into virbr0 stands in for a virtual machine.",
    )
    tests = ("test_empty.py", "test_policy.py", "test_guest.py", "test_disturbed.py")
    disturbances = ("restart_network", "restart_libvirt", *Row.disturbances)

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with super().up() as scene, libvirt.running() as self.libvirt:
            scene.places["guest"] = self.libvirt.guest
            scene.addresses["guest"] = dict(libvirt.ADDRESSES)
            scene.outside = (*scene.outside, self.libvirt.guest)
            scene.serve()
            yield scene
            del scene.places["guest"]

    def restart_network(self, scene: Scene) -> None:
        """virsh net-destroy, virsh net-start"""
        libvirt.virsh("net-destroy", "default")
        HOST.ip("link del vnet0")
        libvirt.virsh("net-start", "default")
        self.libvirt.plug()

    def restart_libvirt(self, scene: Scene) -> None:
        """libvirtd stops, and starts again"""
        self.libvirt.stop()
        self.libvirt.start()
