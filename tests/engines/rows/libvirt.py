# SPDX-License-Identifier: GPL-2.0
"""libvirt's default network next to somebody else's."""

import contextlib
from collections.abc import Iterator

from engines.row import Row
from engines.rows import docker, firewalld_alone
from lib import libvirt
from lib.command import run
from lib.netns import HOST
from lib.scene import BOXES, Scene

PLUGGED = "A network namespace plugged into virbr0 stands in for a virtual machine."


@contextlib.contextmanager
def plugged(scene: Scene, backend: str) -> Iterator[libvirt.Libvirt]:
    """A guest that no policy speaks of is in the scene."""
    with libvirt.running(backend) as daemon:
        scene.places["guest"] = daemon.guest
        scene.addresses["guest"] = dict(libvirt.ADDRESSES)
        scene.outside = (*scene.outside, daemon.guest)
        scene.serve()
        yield daemon
        del scene.places["guest"]


class BesideDocker(docker.Iptables):
    """With Docker's containers."""

    title = "libvirt's default network, next to Docker"
    boxes = BOXES
    packages = ("libvirt-daemon", "docker.io", "nftables")
    notes = (PLUGGED,)
    tests = ("test_empty.py", "test_policy.py", "test_guest.py", "test_disturbed.py")
    disturbances = ("restart_network", "restart_libvirt", *Row.disturbances)

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with super().up() as scene, plugged(scene, "nftables") as self.libvirt:
            yield scene

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


class BesideFirewalld(firewalld_alone.Alone):
    """With firewalld, which has a zone for it."""

    title = "libvirt's default network, beside firewalld"
    packages = ("libvirt-daemon", "firewalld", "iptables", "nftables")
    notes = (
        PLUGGED,
        "libvirt wrote its rules with its iptables backend; from the zone `libvirt` the service tftp was taken, whose conntrack helper User Mode Linux was built without.",
    )
    tests = ("test_policy.py", "test_guest.py", "test_disturbed.py")
    disturbances = ("firewalld_reload",)

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        run("firewall-offline-cmd", "--zone=libvirt", "--remove-service-from-zone=tftp")
        with super().up() as scene, plugged(scene, "iptables"):
            zone = run("firewall-cmd", "--get-zone-of-interface=virbr0")
            assert zone == "libvirt"
            yield scene
