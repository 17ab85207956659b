# SPDX-License-Identifier: GPL-2.0
"""Podman as a user without root."""

import contextlib
from collections.abc import Iterator

from engines.row import Row
from lib.rootless import Place, built


class Rootless(Row):
    """By pasta, without bridges and without rules on the host."""

    title = "Podman without root, pasta"
    packages = ("podman", "passt")
    tests = ("test_rootless.py",)
    disturbances = ()
    notes = (
        "There is no bridge, and the host's hooks see no container: all that one sends and receives is pasta's, a process of the user's, at LOCAL_OUT and LOCAL_IN.",
        "Rules with `cgroup` hold there for all that the user started in that group, the container's own root included: host-network does as it is, with Podman started below its group. One container is told from another only if each is started in a group of its own.",
        "Inside, ctrfw is in the container's namespace as in every other: lan-lockdown's rules with `netns container` hold there, for what is sent by ordinary sockets.",
        "The container has the host's address. 169.254.1.2 is the host (host.containers.internal), 169.254.1.1 the resolver, which belongs to the resolvers of lan-lockdown.",
        "One-published-service and compose-project are about bridges, and were not tried.",
    )

    @contextlib.contextmanager
    def up(self) -> Iterator[Place]:
        with built() as place:
            yield place
