# SPDX-License-Identifier: GPL-2.0
"""libvirt's default network, and a namespace in place of a virtual machine."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lib.command import run
from lib.netns import HOST, Namespace
from lib.poll import until

BRIDGE = "virbr0"
ADDRESSES = {4: "192.168.122.50", 6: "fd00:122::50"}
NETWORK = f"""
<network>
  <name>default</name>
  <forward mode='nat'><nat ipv6='yes'/></forward>
  <bridge name='{BRIDGE}' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.100' end='192.168.122.200'/></dhcp>
  </ip>
  <ip family='ipv6' address='fd00:122::1' prefix='64'/>
</network>
"""
_DAEMONS = ("virtlogd", "libvirtd")


def virsh(*words: str) -> str:
    """What virsh has to say."""
    return run("virsh", "-c", "network:///system", *words)


def _answers() -> bool:
    with contextlib.suppress(RuntimeError):
        virsh("net-list", "--all")
        return True
    return False


class Libvirt:
    """The daemons, and the guest that is plugged into the network."""

    def __init__(self) -> None:
        self.guest = Namespace.create("guest")
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts the daemons, and waits until they answer."""
        self._daemons = [
            subprocess.Popen(
                [name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for name in _DAEMONS
        ]
        until(_answers, "libvirtd answers")

    def stop(self) -> None:
        """Ends the daemons; the network stays."""
        for daemon in self._daemons:
            daemon.terminate()
            daemon.wait()
        self._daemons = []

    def plug(self) -> None:
        """The guest's end of a link, as qemu would have it."""
        guest = self.guest
        HOST.ip(
            f"link add vnet0 type veth peer name eth0 netns {guest.path}",
            f"link set vnet0 master {BRIDGE} up",
        )
        guest.ip(
            f"addr add {ADDRESSES[4]}/24 dev eth0",
            f"addr add {ADDRESSES[6]}/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 192.168.122.1",
            "route add default via fd00:122::1",
        )


@contextlib.contextmanager
def running(backend: str) -> Iterator[Libvirt]:
    """libvirtd with its default network, and the guest in it."""
    Path("/etc/libvirt/network.conf").write_text(f'firewall_backend = "{backend}"\n')
    definition = Path("/run/ctrfw-network.xml")
    definition.write_text(NETWORK)
    libvirt = Libvirt()
    try:
        libvirt.start()
        virsh("net-define", str(definition))
        virsh("net-start", "default")
        libvirt.plug()
        yield libvirt
        virsh("net-destroy", "default")
    finally:
        libvirt.stop()
        libvirt.guest.delete()
