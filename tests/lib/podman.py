# SPDX-License-Identifier: GPL-2.0
"""A real Podman, with the same image as lib/docker.py's, in the guest of either kernel."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lib.command import run
from lib.docker import (
    IMAGE,
    START,
    container_words,
    first_process,
    make_archive,
    network_words,
)
from lib.netns import Namespace
from lib.scene import DEFAULT, SHARED_GROUP, STACK, Box, Network, Shared

STORAGE = Path("/var/lib/containers")
SETTINGS = Path("/etc/containers")
# Without a systemd to ask
CONF = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
[network]
"""


def podman(*words: str) -> str:
    """Runs Podman; its output."""
    return run("podman", *words)


class Engine:
    """Podman, with a network of the drawing's addresses for its default one."""

    bridge = "podman1"
    serves = True

    def add_network(self, network: Network) -> None:
        """podman network create"""
        words = network_words(network)
        if network.bridge:
            name = self.bridge if network is DEFAULT else network.bridge
            words += ("--interface-name", name)
        podman("network", "create", *words, name_of(network.name))

    def add_container(self, box: Box) -> Namespace:
        """podman run"""
        words = ("--network", name_of(box.network), *container_words(box))
        podman("run", "-d", "--name", box.name, "--stop-timeout", "0", *words, IMAGE)
        return Namespace.of_process(box.name, first_process("podman", box.name))

    def add_shared(self, *command: str) -> Namespace | None:
        """podman run --network host"""
        # Without systemd it takes no group that is called a slice, but one below it.
        options = ("--network", "host", "--cgroup-parent", f"{SHARED_GROUP}/podman")
        podman("run", "-d", "--name", "shared", *options, IMAGE, *command)
        return Shared("shared", first_process("podman", "shared"))


class PodEngine(Engine):
    """Podman with each service of the network `stack` in a pod of its own."""

    def add_container(self, box: Box) -> Namespace:
        """podman pod create, podman run --pod"""
        if box.network != STACK.name:
            return super().add_container(box)
        pod = f"{box.name}-pod"
        # Debian does not install the program that Podman would have hold a pod's namespaces.
        holder = ("--infra-image", IMAGE, "--infra-command", "sleep 1000000")
        # Names are the pods', not their containers'.
        words = ("--network-alias", box.name, *container_words(box))
        network = ("--network", name_of(box.network))
        podman("pod", "create", "--name", pod, *holder, *network, *words)
        options = ("--pod", pod, "--stop-timeout", "0")
        podman("run", "-d", "--name", box.name, *options, IMAGE)
        return Namespace.of_process(box.name, first_process("podman", box.name))


def name_of(network: str) -> str:
    """Podman's name of a network of the drawing: it lets none be called "bridge"."""
    return "main" if network == DEFAULT.name else network


@contextlib.contextmanager
def installed(**network: str) -> Iterator[None]:
    """Podman has an image, and these settings for its networks; neither containers nor networks are left behind."""
    STORAGE.mkdir(exist_ok=True)
    SETTINGS.mkdir(exist_ok=True)
    # Its overlays cannot stand on another overlay.
    run("mount", "-t", "tmpfs", "containers", str(STORAGE))
    try:
        write_settings(SETTINGS, **network)
        import_image()
        yield
    finally:
        # It complains of a macvlan network whose parent has gone.
        with contextlib.suppress(RuntimeError):
            podman("rm", "-f", "-a", "-t", "0")
        podman("network", "prune", "-f")
        run("umount", "-l", str(STORAGE))


def write_settings(folder: Path, **network: str) -> None:
    """containers.conf, and leave to use any image."""
    lines = [f'{name} = "{value}"\n' for name, value in network.items()]
    (folder / "containers.conf").write_text(CONF + "".join(lines))
    (folder / "policy.json").write_text(
        '{"default":[{"type":"insecureAcceptAnything"}]}'
    )


def import_image() -> None:
    """Makes the image `tiny`."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "tiny.tar"
        make_archive(archive, "hello\n")
        podman("import", "-c", START, str(archive), IMAGE)
