# SPDX-License-Identifier: GPL-2.0
"""A real Docker, with an image made on the spot from busybox.

It runs in the guest of the stock kernel and in User Mode Linux alike.
"""

import contextlib
import http.client
import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ctrfw_paths
from lib import module
from lib.command import run
from lib.netns import Namespace
from lib.scene import NETWORKS, SHARED_GROUP, Box, Network, Shared

APPLETS = ("cat", "echo", "hostname", "httpd", "ls", "nslookup", "sh", "sleep", "wget")
IMAGE = "tiny"
PORT = 8080
START = f'CMD ["/bin/httpd","-f","-p","{PORT}","-h","/www"]'
# What Docker turns on and does not turn off again.
FORWARDING = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/default/forwarding"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)


def docker(*words: str) -> str:
    """Runs the client; its output."""
    return run("docker", *words)


class Container:
    """A running container, seen from the host."""

    def __init__(self, name: str) -> None:
        self.name = name
        data = ctrfw_paths.docker_get(f"/containers/{name}/json")
        self.id: str = data["Id"]
        self.pid: int = data["State"]["Pid"]
        # Empty unless it is in Docker's default network.
        self.address: str = data["NetworkSettings"]["IPAddress"]
        self.net = f"/proc/{self.pid}/ns/net"

    @property
    def inode(self) -> int:
        """The number of its network namespace."""
        return os.stat(self.net).st_ino

    @property
    def port(self) -> str:
        """The name of its port of the bridge, the host's end of its veth pair."""
        link = Path(f"/proc/{self.pid}/root/sys/class/net/eth0/iflink")
        return socket.if_indextoname(int(link.read_text()))

    def namespace(self) -> Namespace:
        """Its network namespace, to be entered; delete() lets go of it."""
        return Namespace.of_process(self.name, self.pid)


class Engine:
    """dockerd; containers start from the image `tiny`, a web server on port 8080."""

    bridge = "docker0"
    serves = True

    def __init__(self, folder: str | Path, *options: str) -> None:
        self.log = Path(folder) / "dockerd.log"
        self._options = options
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the daemon, and does not wait for it."""
        command = ["dockerd", "--storage-driver", "overlay2", "--log-level", "warn"]
        with self.log.open("wb") as log:
            self._daemon = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # The tests' own process may keep to one CPU.
        os.sched_setaffinity(self._daemon.pid, range(os.cpu_count() or 1))

    def wait(self, seconds: float = 600) -> str:
        """Until the daemon answers; gives its version."""
        assert self._daemon
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._daemon.poll() is not None:
                break
            try:
                return ctrfw_paths.docker_get("/version")["Version"]
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.2)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"dockerd does not answer:\n{tail}")

    def stop(self) -> None:
        """Ends all containers, then the daemon."""
        if self._daemon is None:
            return
        if self._daemon.poll() is None:
            self._remove()
            docker("network", "prune", "-f")
        self.terminate()

    def _remove(self, tries: int = 6) -> None:
        """Ends all containers; dockerd waits no more than ten seconds for the end of each."""
        for left in reversed(range(tries)):
            ids = docker("ps", "-aq").split()
            if not ids:
                return
            try:
                docker("rm", "-f", *ids)
            except RuntimeError as error:
                if not left or "did not receive an exit event" not in str(error):
                    raise

    def terminate(self) -> None:
        """Ends the daemon, which stops its containers and keeps them."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()
            self._daemon = None

    def import_image(self, archive: str | Path) -> None:
        """Makes the image of an archive, see make_archive()."""
        docker("import", "-c", START, str(archive), IMAGE)

    def run(
        self, name: str, *arguments: str, options: tuple[str, ...] = ()
    ) -> Container:
        """docker run -d; gives the Container."""
        docker("run", "-d", "--name", name, *options, IMAGE, *arguments)
        return Container(name)

    def add_network(self, network: Network) -> None:
        """docker network create"""
        if network.bridge == self.bridge:
            return
        words = network_words(network)
        if network.bridge:
            words += ("-o", f"com.docker.network.bridge.name={network.bridge}")
        docker("network", "create", *words, network.name)

    def add_container(self, box: Box) -> Namespace:
        """docker run"""
        # The web server is deaf to a kind word.
        options = ("--network", box.network, "--stop-timeout", "1")
        self.run(box.name, options=(*options, *container_words(box)))
        return self.namespace(box.name)

    def namespace(self, name: str) -> Namespace:
        """The network namespace of a container as it is now; delete() lets go of it."""
        return Container(name).namespace()

    def add_shared(self, *command: str) -> Namespace | None:
        """docker run --network host"""
        options = ("--network", "host", "--cgroup-parent", SHARED_GROUP)
        return Shared("shared", self.run("shared", *command, options=options).pid)


def first_process(client: str, name: str) -> int:
    """The number of a container's, by Docker's client or Podman's."""
    return int(run(client, "inspect", "-f", "{{.State.Pid}}", name))


def network_words(network: Network) -> tuple[str, ...]:
    """What `docker network create`, or Podman's, is to be told, but for the bridge's name."""
    words = ["--subnet", f"{network.net4}.0/24"]
    if network.net6:
        words += ["--ipv6", "--subnet", f"{network.net6}::/64"]
    if network.internal:
        words += ["--internal"]
    if network.parent:
        # .1 is the host's own.
        words += ["-d", network.driver, "-o", f"parent={network.parent}"]
        words += ["--gateway", f"{network.net4}.254"]
        words += ["--gateway", f"{network.net6}::fe"] if network.net6 else []
    return tuple(words)


def container_words(box: Box) -> tuple[str, ...]:
    """What `docker run`, or Podman's, is to be told of a container, but for its network's name."""
    network = NETWORKS[box.network]
    words: list[str] = []
    if box.number is not None:
        words += ["--ip", f"{network.net4}.{box.number}"]
        words += ["--ip6", f"{network.net6}::{box.number}"] if network.net6 else []
    for published in box.published:
        words += ["-p", published]
    return tuple(words)


def make_archive(path: str | Path, page: str) -> None:
    """A root for containers: busybox and one web page."""
    busybox = shutil.which("busybox")
    assert busybox, "the guest has no busybox"
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "www"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        for name, text in (
            ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
            ("www/index.html", page),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))


@contextlib.contextmanager
def running(*options: str, kind: type[Engine] = Engine) -> Iterator[Engine]:
    """A Docker with its image that leaves nothing behind: no bridge, no rule, no setting."""
    before = {path: path.read_text() for path in FORWARDING}
    modules = module.names()
    with tempfile.TemporaryDirectory() as folder:
        engine = kind(folder, *options)
        try:
            engine.start()
            archive = Path(folder) / "tiny.tar"
            make_archive(archive, "hello\n")
            engine.wait()
            engine.import_image(archive)
            yield engine
        finally:
            engine.stop()
            for command in (
                "ip link del docker0",
                "nft flush ruleset",
                "umount /run/docker/netns/default",
            ):
                subprocess.run(command.split(), capture_output=True, check=False)
            for path, text in before.items():
                path.write_text(text)
            if "br_netfilter" not in modules:
                module.remove("br_netfilter")
