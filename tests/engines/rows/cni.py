# SPDX-License-Identifier: GPL-2.0
"""Pods whose network CNI plugins make."""

import contextlib
from collections.abc import Iterator

from engines.row import Row
from lib import cni
from lib.scene import Box, Scene, built


class Pods(Row):
    """What a Kubernetes node has, without Kubernetes."""

    title = "pods by CNI plugins (bridge, macvlan, host-local, portmap)"
    packages = ("containernetworking-plugins", "iptables")
    notes = (
        "The pods are network namespaces that the plugins are called for as kubelet's runtime would; Debian has no kubelet.",
    )
    disturbances = ("restart_pod", *Row.disturbances)

    @contextlib.contextmanager
    def up(self) -> Iterator[Scene]:
        with cni.running() as engine, built(engine, self.boxes) as scene:
            yield scene

    def restart_pod(self, scene: Scene) -> None:
        """a pod goes, and comes back with another address"""
        engine = scene.engine
        assert isinstance(engine, cni.Engine)
        box = next(box for box in scene.boxes if box.name == "old")
        engine.remove(box, scene.places["old"])
        scene.add(Box("old", box.network, 7, box.published))
