# SPDX-License-Identifier: GPL-2.0
"""Containers as a Kubernetes node's runtime makes them: runc, and CNI plugins for the network."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lib import cni
from lib.command import run
from lib.scene import DEFAULT, Box


class Container:
    """One at a time of a name, whose only program is `/first`."""

    def __init__(self, folder: Path, name: str, program: bytes) -> None:
        self._bundle = folder / name
        self._box = Box(name, DEFAULT.name)
        self._words = ("runc", "--root", str(folder / "state"))
        root = self._bundle / "rootfs"
        (root / "proc").mkdir(parents=True)
        first = root / "first"
        first.write_bytes(program)
        first.chmod(0o755)
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/first"],
                "cwd": "/",
            },
            "root": {"path": "rootfs", "readonly": True},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": t} for t in ("network", "mount", "pid", "ipc")]
            },
        }
        (self._bundle / "config.json").write_text(json.dumps(config))

    def start(self) -> None:
        """It lives, from beginning to end."""
        name, number = self._box.name, self._bundle / "pid"
        bundle = ("--bundle", str(self._bundle), "--pid-file", str(number))
        # The container keeps these files open.
        words = [*self._words, "create", *bundle, name]
        null = subprocess.DEVNULL
        subprocess.run(words, stdin=null, stdout=null, stderr=null, check=True)
        pid = int(number.read_text())
        process = os.pidfd_open(pid)
        try:
            # Rules for each pod would take longer than all the rest.
            config = cni.interface(DEFAULT, self._box) | {"ipMasq": False}
            cni.call("ADD", name, f"/proc/{pid}/ns/net", config)
            run(*self._words, "start", name)
            select.select([process], [], [])
        finally:
            os.close(process)
        # Its namespace has gone with it, and its address is to be had again.
        cni.call("DEL", name, "", config)
        run(*self._words, "delete", name)


@contextlib.contextmanager
def containers(program: bytes, count: int) -> Iterator[list[Container]]:
    """Some, in a folder that is theirs for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        yield [
            Container(Path(folder), f"first{number}", program)
            for number in range(count)
        ]
