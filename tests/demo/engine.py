# SPDX-License-Identifier: GPL-2.0
"""A real Docker, with an image made on the spot from busybox."""

import io
import os
import pathlib
import shutil
import socket
import subprocess
import tarfile
import time

import ctrfw_paths

APPLETS = ("cat", "echo", "httpd", "ls", "sh", "sleep", "wget")


class Engine:
    """dockerd; containers start from the image `tiny`."""

    def __init__(self, folder):
        self.log = pathlib.Path(folder) / "dockerd.log"
        self.daemon = None

    def start(self):
        with self.log.open("wb") as log:
            self.daemon = subprocess.Popen(
                ["dockerd", "--storage-driver", "overlay2", "--log-level", "warn"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self, seconds=240):
        """Until the daemon answers; gives its version."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.daemon.poll() is not None:
                break
            try:
                return ctrfw_paths.docker_get("/version")["Version"]
            except OSError:
                time.sleep(0.2)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"dockerd does not answer:\n{tail}")

    def import_image(self, archive):
        command = [
            "docker",
            "import",
            "-c",
            'CMD ["/bin/httpd","-f","-p","8080","-h","/www"]',
        ]
        subprocess.run(
            [*command, archive, "tiny"], check=True, stdout=subprocess.DEVNULL
        )

    def run(self, name, *arguments, options=()):
        """docker run -d; gives the Container."""
        command = ["docker", "run", "-d", "--name", name, *options, "tiny", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Container(name)


class Container:
    """A running container, seen from the host."""

    def __init__(self, name):
        self.name = name
        data = ctrfw_paths.docker_get(f"/containers/{name}/json")
        self.pid = data["State"]["Pid"]
        self.address = data["NetworkSettings"]["IPAddress"]
        self.net = f"/proc/{self.pid}/ns/net"

    @property
    def inode(self):
        return os.stat(self.net).st_ino

    @property
    def port(self):
        """The name of its port of the bridge, the host's end of its veth pair."""
        link = pathlib.Path(f"/proc/{self.pid}/root/sys/class/net/eth0/iflink")
        return socket.if_indextoname(int(link.read_text()))


def make_archive(path, page):
    """A root for containers: busybox and one web page."""
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "www"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add(os.path.realpath(shutil.which("busybox")), "bin/busybox")
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
