# SPDX-License-Identifier: GPL-2.0
"""A real Podman without root: pasta, a process of the user's, connects its containers.

ext 203.0.113.2 ---- wan0 203.0.113.1      pasta ----- box 203.0.113.1   published: 8085 (tcp, udp), 8086
    2001:db8:8::2         2001:db8:8::1                    2001:db8:8::1
lan 192.168.50.2 --- lan0 192.168.50.1
    fd00:50::2            fd00:50::1

pasta gives the container the addresses of the interface that the host's default route is on, and
is at the other end of all that the container begins or is asked.
"""

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from lib import cgroup, reach
from lib.command import run
from lib.docker import IMAGE, START, make_archive
from lib.netns import HOST, Namespace, created
from lib.podman import write_settings
from lib.poll import until
from lib.reach import Service
from lib.scene import (
    DATABASE,
    DNS,
    LDAP,
    OUTSIDE,
    RESOLV_CONF,
    SERVICE,
    SHARED,
    SHARED_GROUP,
    Scene,
    add_machine,
    serves,
)

USER = "alice"
GROUP = f"{SHARED_GROUP}/{USER}"
# The port of the container that the second published one leads to
OTHER = 8081
# The interface whose name and addresses the container has
OWN = "wan0"
# By which the container asks for names, and reaches the host: Podman's choice.
RESOLVER = "169.254.1.1"
HOST_ADDRESS = "169.254.1.2"


class User:
    """Who runs Podman, with all that is started so in one control group."""

    def __init__(self) -> None:
        entry = pwd.getpwnam(USER)
        self.home, self.uid = Path(entry.pw_dir), entry.pw_uid
        self.runtime = Path(f"/run/user/{self.uid}")

    def podman(self, *words: str) -> str:
        """Runs the user's Podman; its output."""
        ids = (f"--reuid={USER}", f"--regid={USER}", "--init-groups")
        environment = (f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.runtime}")
        with cgroup.inside(GROUP):
            return run(
                *("setpriv", *ids, "env", "-C", str(self.home), *environment),
                *("podman", *words),
            )


@contextlib.contextmanager
def user() -> Iterator[User]:
    """With folders of his own, and the image."""
    run("useradd", "--create-home", USER)
    found = User()
    cgroup.make(GROUP)
    mounts = (found.home, found.runtime)
    try:
        for folder in mounts:
            folder.mkdir(parents=True, exist_ok=True)
            options = f"mode=700,uid={found.uid},gid={found.uid}"
            run("mount", "-t", "tmpfs", "-o", options, USER, str(folder))
        settings = found.home / ".config" / "containers"
        settings.mkdir(parents=True)
        write_settings(settings)
        archive = found.home / "tiny.tar"
        make_archive(archive, "hello\n")
        for path in (archive, settings.parent, settings, *settings.iterdir()):
            shutil.chown(path, USER, USER)
        found.podman("import", "-c", START, str(archive), IMAGE)
        yield found
        found.podman("rm", "-f", "-a", "-t", "0")
    finally:
        for folder in mounts:
            run("umount", "-l", str(folder))


class Place(Scene):
    """The drawing above."""

    def start(self, user: User) -> None:
        """Starts the container, and has all answer."""
        published = (f"{SHARED[0]}:{SERVICE}", f"{SHARED[0]}:{SERVICE}/udp")
        ports = (*published, f"{SHARED[1]}:{OTHER}")
        options = [option for port in ports for option in ("-p", port)]
        user.podman("run", "-d", "--name", "box", *options, IMAGE)
        pid = int(user.podman("inspect", "-f", "{{.State.Pid}}", "box"))
        self.places["box"] = Namespace.of_process("box", pid)
        self.serve()

    def remove(self, user: User) -> None:
        """Removes the container."""
        user.podman("rm", "-f", "-t", "0", "box")
        self.places.pop("box").delete()
        # pasta goes a little later.
        until(
            lambda: not run("ss", "-Hltun", f"sport = :{SHARED[0]}"), "the port is free"
        )

    def serve(self) -> None:
        self._servers.close()
        box, (ext, lan) = self.places["box"], self.outside
        services = [
            *(Service(netns, "tcp") for netns in (HOST, ext, lan)),
            *(Service(netns, "udp") for netns in (ext, lan, box)),
            *(Service(lan, "tcp", port) for port in (LDAP, DATABASE)),
            Service(lan, "udp", DNS),
            Service(box, "tcp", OTHER),
            *(
                Service(HOST, "udp", address=address)
                for name in ("loop", "wan0", "lan0")
                for address in self.addresses[name].values()
            ),
        ]
        self._servers.enter_context(reach.serving(services))
        until(lambda: serves(box, SERVICE), "the container serves")


@contextlib.contextmanager
def built() -> Iterator[Place]:
    """All of it."""
    names = RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""
    # As systemd sets it: without, nobody's pasta can ping.
    HOST.sysctl("ipv4/ping_group_range", "0 2147483647")
    run("modprobe", "tun")
    os.chmod("/dev/net/tun", 0o666)
    with created("ext", "lan") as (ext, lan), user() as alice:
        place = Place(
            alice,
            {"host": HOST, "ext": ext, "lan": lan},
            {**OUTSIDE, "near": {4: HOST_ADDRESS}},
            (ext, lan),
            (),
        )
        try:
            add_machine(ext, "wan0", "203.0.113", "2001:db8:8")
            add_machine(lan, "lan0", "192.168.50", "fd00:50")
            # pasta asks for it.
            HOST.ip("route add default via 203.0.113.2")
            HOST.ip("route add default via 2001:db8:8::2")
            RESOLV_CONF.write_text("nameserver 192.168.50.2\n")
            place.start(alice)
            yield place
        finally:
            place.close()
            RESOLV_CONF.write_text(names)
            HOST.ip("link del wan0", "link del lan0")
