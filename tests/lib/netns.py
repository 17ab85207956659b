# SPDX-License-Identifier: GPL-2.0
"""Network namespaces, entered by this very process.

Starting a process costs most of a second in a virtual machine without KVM, so
nothing here does: a socket stays in the namespace in which it was made, and the
thread that made it goes home at once.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from lib.poll import PATIENCE

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
PACKET_IGNORE_OUTGOING = 23
# As SO_RCVBUF, beyond net.core.rmem_max
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def _open_own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network namespace, alive as long as this object is not deleted.

    As a context manager it moves the calling thread there and back.
    """

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.inode = os.fstat(fd).st_ino
        self._back = threading.local()

    @classmethod
    def create(cls, name: str) -> Self:
        """A new namespace with its loopback device up."""
        netns = cls.create_bare(name)
        netns.ip("link set lo up")
        return netns

    @classmethod
    def create_bare(cls, name: str) -> Self:
        """A new namespace as the kernel makes it, without the cost of an `ip`."""
        home = _open_own()
        try:
            os.unshare(os.CLONE_NEWNET)
            fd = _open_own()
        finally:
            os.setns(home, os.CLONE_NEWNET)
            os.close(home)
        return cls(name, fd)

    @classmethod
    def of_process(cls, name: str, pid: int) -> Self:
        """The one that a process is in."""
        return cls(name, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def __repr__(self) -> str:
        return f"<{self.name} {self.inode}>"

    def __enter__(self) -> Self:
        stack: list[int] = self._back.__dict__.setdefault("stack", [])
        stack.append(_open_own())
        os.setns(self.fd, os.CLONE_NEWNET)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fd = self._back.stack.pop()
        os.setns(fd, os.CLONE_NEWNET)
        os.close(fd)

    def delete(self) -> None:
        """Lets go of the namespace; the kernel removes it when nobody else holds it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def run(
        self,
        command: Sequence[str | bytes],
        text: str | None = None,
        check: bool = True,
    ) -> str:
        """Runs a command in here; its output."""
        with self:
            done = subprocess.run(
                command,
                input=None if text is None else text.encode(),
                capture_output=True,
                pass_fds=_all_fds(),
                check=False,
            )
        if check and done.returncode:
            raise AssertionError(
                f"in {self.name}: {command}: exit {done.returncode}\n{text or ''}\n"
                f"{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"
            )
        return done.stdout.decode(errors="surrogateescape")

    def ip(self, *lines: str) -> None:
        """Runs lines of `ip -batch` in here, all by one process.

        `netns {x.path}` names another namespace in them.
        """
        self.run(["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))

    @property
    def path(self) -> str:
        """A path that `ip` accepts as this namespace's name."""
        return f"/proc/self/fd/{self.fd}"

    def sysctl(self, name: str, value: object) -> None:
        """Sets a sysctl below net/."""
        with self, open(f"/proc/sys/net/{name}", "w") as file:
            file.write(f"{value}\n")

    def read(self, path: str) -> str:
        """The contents of a file of /proc/net (`path` below it) as seen from here."""
        with self, open(f"/proc/thread-self/net/{path}") as file:
            return file.read()

    def links(self) -> set[str]:
        """The names of the interfaces in here."""
        with self:
            return {name for _, name in socket.if_nameindex()}

    def make_socket(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """A socket that lives in here, wherever it is used."""
        with self:
            return socket.socket(family, kind, proto)

    def udp(self, address: str | None = None, port: int = 0) -> socket.socket:
        """A UDP socket in here, bound if there is an address."""
        family = socket.AF_INET6 if address and ":" in address else socket.AF_INET
        sock = self.make_socket(family, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE)
        if address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
        return sock

    def packet(self, device: str, receive: bool = True) -> socket.socket:
        """An AF_PACKET socket on one device in here: what it sends passes no hook in here.

        It receives what came in by the device, before any hook in here.
        """
        sock = self.make_socket(socket.AF_PACKET, socket.SOCK_RAW)
        with self:
            if receive:
                sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
            sock.bind((device, ETH_P_ALL if receive else 0))
        sock.settimeout(PATIENCE)
        return sock


def put(wire: socket.socket, frame: bytes) -> bool:
    """Puts a frame on a wire; False if the kernel had no room for it just now."""
    try:
        wire.send(frame)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False
    return True


def up(netns: Namespace, device: str) -> None:
    """Sets a device up without starting a process."""
    with netns.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("@16sH22x", device.encode(), IFF_UP)
        fcntl.ioctl(sock, SIOCSIFFLAGS, request)


def _all_fds() -> list[int]:
    """The namespaces that are alive, so that a child finds them under the same path."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("net:["):
                found.append(int(name))
    return found


def initial() -> Namespace:
    """The initial network namespace, in which the tests run."""
    return Namespace("host", os.open("/proc/1/ns/net", os.O_RDONLY | os.O_CLOEXEC))


HOST = initial()


def alive() -> int:
    """How many namespaces there are that this process has not let go of, the initial one included."""
    return len({os.fstat(fd).st_ino for fd in _all_fds()})


@contextlib.contextmanager
def created(*names: str) -> Iterator[list[Namespace]]:
    """Namespaces that go when the block ends."""
    made: list[Namespace] = []
    try:
        made.extend(Namespace.create(name) for name in names)
        yield made
    finally:
        for netns in made:
            netns.delete()
