# SPDX-License-Identifier: GPL-2.0
"""The hosts around Docker, each a network namespace behind a veth pair."""

import os
import pathlib
import subprocess

PICTURE = """
      ext                           host                      containers
  203.0.113.2 eth0 ------ wan0 203.0.113.1               +--- web    172.17.0.2:8080
  2001:db8:8::2                2001:db8:8::1   docker0 --+
      lan                                  172.17.0.1    +--- client 172.17.0.3
  192.168.50.2 eth0 ----- lan0 192.168.50.1

  ext is anybody in the internet, lan a machine in the private network. The host
  publishes its port 8081 as web's 8080, and has an admin page on port 9000.
"""


class Place:
    """A network namespace that commands run in; net is its file, None the host's."""

    def __init__(self, name, net):
        self.name = name
        self.net = net

    @property
    def inode(self):
        return os.stat(self.net or "/proc/self/ns/net").st_ino

    def command(self, *words):
        """The command that runs words here."""
        return [*(["nsenter", f"--net={self.net}"] if self.net else []), *words]


def add_ext():
    here, there = (
        ("203.0.113.1/24", "2001:db8:8::1/64"),
        ("203.0.113.2/24", "2001:db8:8::2/64"),
    )
    return add_host("ext", "wan0", here, there)


def add_lan():
    return add_host("lan", "lan0", ["192.168.50.1/24"], ["192.168.50.2/24"])


def ip(batch, *options):
    """Runs many ip commands with one process."""
    subprocess.run(["ip", *options, "-batch", "-"], input=batch, text=True, check=True)


def add_host(name, device, here, there):
    """A namespace whose way to the rest of the world is this host.

    here and there: the addresses of each side, with prefix lengths.
    """
    ip(f"netns add {name}\nlink add {device} type veth peer name eth0 netns {name}\n")
    for addresses, link, options in ((here, device, []), (there, "eth0", ["-n", name])):
        # Without nodad an IPv6 address serves only after a second or two.
        batch = "".join(
            f"addr add {a} dev {link}{' nodad' * (':' in a)}\n" for a in addresses
        )
        ip(f"{batch}link set lo up\nlink set {link} up\n", *options)
    routes = (f"route add default via {a.partition('/')[0]}\n" for a in here)
    ip("".join(routes), "-n", name)
    return Place(name, f"/run/netns/{name}")


def serve(place, port, folder):
    """A web server whose page says the place's name."""
    root = pathlib.Path(folder) / place.name
    root.mkdir(parents=True)
    (root / "index.html").write_text(page(place.name))
    subprocess.Popen(
        place.command("busybox", "httpd", "-f", "-p", str(port), "-h", str(root))
    )


def page(name):
    return f"hello from {name}\n"
