# SPDX-License-Identifier: GPL-2.0
"""A project of compose's beside other containers of Docker's."""

import json
from pathlib import Path

from engines.row import Row
from engines.rows.client import Client
from engines.rows.docker import Iptables
from lib.docker import IMAGE, Engine, docker
from lib.netns import Namespace
from lib.scene import BOXES, STACK, Box, Network, Scene


class Project(Engine):
    """Docker whose network `stack`, and what is in it, is a project of compose's."""

    def add_network(self, network: Network) -> None:
        if network is not STACK:
            super().add_network(network)
            return
        boxes = [box for box in BOXES if box.network == STACK.name]
        services = {
            box.name: {
                "image": IMAGE,
                "container_name": box.name,
                "pull_policy": "never",
                "stop_grace_period": "1s",
                "ports": list(box.published),
                "networks": {
                    "default": {
                        "ipv4_address": f"{STACK.net4}.{box.number}",
                        "ipv6_address": f"{STACK.net6}::{box.number}",
                    }
                },
            }
            for box in boxes
        }
        network_of_all = {
            "enable_ipv6": True,
            "driver_opts": {"com.docker.network.bridge.name": STACK.bridge},
            "ipam": {
                "config": [
                    {"subnet": f"{STACK.net4}.0/24"},
                    {"subnet": f"{STACK.net6}::/64"},
                ]
            },
        }
        # What is JSON is YAML.
        project = {
            "name": "stack",
            "services": services,
            "networks": {"default": network_of_all},
        }
        self.file.write_text(json.dumps(project))
        self.compose("up", "-d")

    @property
    def file(self) -> Path:
        """What compose is to read"""
        return self.log.with_name("compose.yaml")

    def compose(self, *words: str) -> None:
        """docker compose"""
        docker("compose", "--file", str(self.file), *words)

    def add_container(self, box: Box) -> Namespace:
        if box.network == STACK.name:
            return self.namespace(box.name)
        return super().add_container(box)


class Compose(Iptables):
    """A project of three services, of which one may be reached."""

    title = "docker compose, three services"
    packages = ("docker-compose", "docker.io")
    boxes = BOXES
    tests = Client.tests
    kind = Project
    disturbances = ("down_and_up", "restart_service", *Row.disturbances)

    def down_and_up(self, scene: Scene) -> None:
        """docker compose down, docker compose up"""
        project = scene.engine
        assert isinstance(project, Project)
        project.compose("down")
        project.compose("up", "-d")
        self.take_all(scene)

    def restart_service(self, scene: Scene) -> None:
        """docker compose restart of each service"""
        project = scene.engine
        assert isinstance(project, Project)
        project.compose("restart")
        self.take_all(scene)

    def take_all(self, scene: Scene) -> None:
        """They have new namespaces."""
        for box in scene.boxes:
            if box.network == STACK.name:
                scene.add(box)
