# SPDX-License-Identifier: GPL-2.0
"""`ctrfw watch` beside a real Docker and a real Podman: the table is right before a container's first packet.

They change the host's netfilter rules and bridges, so this file runs behind all others.
"""

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

import ctrfw_paths
from lib import control, kmemleak
from lib import docker as engine
from lib.podman import installed
from lib.poll import until

# The engines' network devices are taken for leaks while they are there.
pytestmark = pytest.mark.skipif(
    kmemleak.available(), reason="engines do not go with a search for leaks"
)

COMMAND = Path(__file__).parent.parent.parent / "build" / "ctrfw"
WORK = Path("/run/ctrfw-watch")
PORT = 9000
# An engine under emulation takes its time.
SLOW = 300.0


def run(*words: str) -> str:
    """What a program has to say."""
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Watch:
    """The command, and what it has told so far."""

    def __init__(self, *lines: str) -> None:
        self.table = WORK / "table"
        self.table.write_text("".join(f"{line}\n" for line in lines))
        self.log = WORK / "watch.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "watch", "--json", self.table], stdout=log
            )

    def __enter__(self) -> Self:
        self.wait(lambda line: line["event"] == "loaded")
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: object
    ) -> None:
        if error is not None:
            error.add_note(f"{counts()}; {self.log.read_text()}")
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait() == 0

    def told(self) -> list[dict[str, Any]]:
        """Its whole lines."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], since: int = 0
    ) -> dict[str, Any]:
        """The last line that is such a one, behind so many lines."""

        def last() -> dict[str, Any] | None:
            told = reversed(self.told()[since:])
            return next((line for line in told if wanted(line)), None)

        return until(last, f"such a line in {self.log.read_text()}", SLOW)

    def wait_set(self, name: str, *members: str) -> dict[str, Any]:
        """Waits for a set to have these members, in the table as well."""

        def last() -> dict[str, Any] | None:
            lines = [line for line in self.told() if line.get("set") == name]
            line = lines[-1] if lines else None
            return line if line and line["members"] == list(members) else None

        line = until(last, f"{name} {members} in {self.log.read_text()}", SLOW)
        inside = f" {', '.join(members)} " if members else " "
        assert f"set {name} {{{inside}}}" in control.rules()
        return line


def counts() -> list[int]:
    """How many packets each rule has decided about."""
    rules = [counter for counter in control.counters() if counter.number.isdigit()]
    return [counter.packets for counter in rules]


def ask(gateway: str) -> list[str]:
    """The command of a container that knocks first of all, until it is heard, and then lives on."""
    knock = f"wget -q -O - -T 5 http://{gateway}:{PORT}/"
    return ["sh", "-c", f"until {knock}; do sleep 1; done; sleep 1000"]


def remove(*names: str, tool: str = "docker") -> None:
    """Containers that are not needed any more."""
    run(tool, "rm", "-f", *(["-t", "0"] if tool == "podman" else []), *names)


@pytest.fixture(scope="module")
def www() -> Iterator[None]:
    """A web server on the host for containers to ask."""
    cpus = os.sched_getaffinity(0)
    # Engines and what they start may have all of them.
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    root = WORK / "www"
    root.mkdir(parents=True, exist_ok=True)
    (root / "index.html").write_text("hello\n")
    server = subprocess.Popen(["busybox", "httpd", "-f", "-p", str(PORT), "-h", root])
    yield
    server.terminate()
    server.wait()
    os.sched_setaffinity(0, cpus)


@pytest.fixture(scope="module")
def docker(www: None) -> Iterator[engine.Engine]:
    """dockerd, with an image and a network of our own."""
    with engine.running() as daemon:
        engine.docker("network", "create", "--subnet", "10.77.0.0/24", "back")
        yield daemon


@pytest.fixture(scope="module")
def podman(www: None) -> Iterator[None]:
    """Podman's service, with an image."""
    place = Path("/run/podman/podman.sock")
    place.parent.mkdir(exist_ok=True)

    def answers() -> bool:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            return bool(ctrfw_paths.docker_get("/version", str(place)))
        return False

    with (
        installed(firewall_driver="nftables"),
        (WORK / "podman.log").open("wb") as log,
    ):
        service = subprocess.Popen(
            ["podman", "system", "service", "-t", "0", f"unix://{place}"],
            stdout=log,
            stderr=log,
        )
        until(answers, "podman answers", SLOW)
        yield
        service.terminate()
        service.wait()


def knock_and_go(
    docker: engine.Engine, watch: Watch, name: str, label: str, rule: int
) -> str:
    """A container whose very first packet must find `rule`; how long before its start that was."""
    before, told = counts(), len(watch.told())
    options = ("--network", "back", "--ip", "10.77.0.5", "--label", f"tier={label}")
    docker.run(name, *ask("10.77.0.1"), options=options)
    until(lambda: counts()[rule] > before[rule], "it asks", SLOW)
    assert counts()[2] == before[2] == 0, "its first packet was refused"
    line = watch.wait(
        lambda line: line.get("members") == ["10.77.0.5"] and line["cause"] is not None,
        told,
    )
    assert line["cause"] == "network connect back"
    inspected = ctrfw_paths.docker_get(f"/containers/{name}/json")
    started = datetime.fromisoformat(inspected["State"]["StartedAt"]).timestamp()
    ahead = (started - connected(inspected["Id"])) * 1000
    remove(name)
    # What `die` sets off lists the networks, and may do so after Docker took the address away.
    causes = ("network disconnect", f"container die {name}")
    watch.wait(
        lambda line: (
            line.get("members") == [] and str(line["cause"]).startswith(causes)
        ),
        told,
    )
    return (
        f"{name}: in force {line['milliseconds']} ms after Docker gave the address, "
        f"which was {ahead:.0f} ms before the start"
    )


def connected(container: str) -> float:
    """When Docker last told that this container is being given an address."""
    form = "{{.TimeNano}} {{.Actor.Attributes.container}}"
    lines = run(
        *("docker", "events", "--since", "10m", "--until", f"{time.time():.3f}"),
        *("--filter", "event=connect", "--format", form),
    )
    times = [line.split()[0] for line in lines.splitlines() if container in line]
    return int(times[-1]) / 1e9


def test_docker_before_the_first_packet(
    docker: engine.Engine, tell: Callable[[str], None]
) -> None:
    """What only this container may do it can do at once, and nobody after it who gets its address."""
    table = [
        "allow from container:web proto tcp dport 9000",
        "allow from label:tier=front proto tcp dport 9000",
        "deny proto tcp dport 9000",
    ]
    with Watch(*table) as watch:
        tell(knock_and_go(docker, watch, "web", "none", 0))
        tell(knock_and_go(docker, watch, "other", "front", 1))
        # The same address, and no name that is allowed anything
        before = counts()
        options = ("--network", "back", "--ip", "10.77.0.5")
        docker.run("nobody", *ask("10.77.0.1"), options=options)
        until(lambda: counts()[2] > before[2], "it asks", SLOW)
        assert counts()[:2] == before[:2]
        remove("nobody")


def test_docker_addresses_change(docker: engine.Engine) -> None:
    """Networks, names and neighbours, without a rule losing its count or a word of somebody else."""
    table = [
        "allow from !container:web to network:back in network:back",
        "allow proto udp dport 9",
        "deny from container:web out network:new",
    ]
    control.load_rules("deny from 192.0.2.1")
    with Watch(*table) as watch:
        watch.wait_set("container.web")
        watch.wait_set("network.back", "10.77.0.0/24")
        network = run("docker", "network", "inspect", "-f", "{{.Id}}", "back")
        watch.wait_set("bridge.back", f"br-{network[:12]}")
        docker.run("web", "sleep", "1000", options=("--network", "back"))
        first = docker_addresses("web")
        watch.wait_set("container.web", *first)
        with control.RULES.open("a") as file:
            file.write("insert 1 deny from 192.0.2.7\n")
        watch.wait(lambda line: line["event"] == "changed")
        run("docker", "network", "create", "--subnet", "10.78.0.0/24", "new")
        new = run("docker", "network", "inspect", "-f", "{{.Id}}", "new")
        watch.wait_set("bridge.new", f"br-{new[:12]}")
        run("docker", "network", "connect", "new", "web")
        second = docker_addresses("web")
        assert len(second) == 2
        watch.wait_set("container.web", *second)
        run("docker", "rename", "web", "web9")
        watch.wait_set("container.web")
        run("docker", "rename", "web9", "web")
        watch.wait_set("container.web", *second)
        run("docker", "network", "disconnect", "back", "web")
        watch.wait_set("container.web", *(set(second) - set(first)))
        remove("web")
        watch.wait_set("container.web")
        run("docker", "network", "rm", "new")
        watch.wait_set("bridge.new")
        assert [rule for rule in control.rules() if not rule.startswith("set ")] == [
            "deny from 192.0.2.7",
            "allow from !@container.web to @network.back in @bridge.back",
            "allow proto udp dport 9",
            "deny from @container.web out @bridge.new",
        ]
        # Another table ends it, and stays.
        control.load_rules("deny from 192.0.2.1")
        assert watch.process.wait() == 1
        assert control.rules() == ["deny from 192.0.2.1"]


def docker_addresses(name: str) -> list[str]:
    """In order"""
    inspected = ctrfw_paths.docker_get(f"/containers/{name}/json")
    networks = inspected["NetworkSettings"]["Networks"].values()
    return sorted(network["IPAddress"] for network in networks)


def test_docker_restarts(docker: engine.Engine) -> None:
    """Containers that end with dockerd lose what they may do; afterwards all goes on."""
    with Watch("allow from container:web", "deny proto tcp dport 9000") as watch:
        docker.run("web", "sleep", "1000", options=("--network", "back"))
        watch.wait_set("container.web", *docker_addresses("web"))
        docker.terminate()
        watch.wait(lambda line: line["event"] == "engine" and line["lost"] is not None)
        watch.wait_set("container.web")
        docker.start()
        docker.wait()
        run("docker", "start", "web")
        watch.wait_set("container.web", *docker_addresses("web"))
        remove("web")
        watch.wait_set("container.web")


def pod_knocks(watch: Watch) -> dict[str, Any]:
    """A container that knocks first of all; what was told of its address, or of its announcement."""
    # A watch waits three seconds for Podman: until it answers, nobody is denied anything.
    watch.wait_set("bridge.podman", "podman0")
    run("podman", "run", "-d", "--name", "pod", "tiny", *ask("10.88.0.1"))
    address = run("podman", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "pod")
    line = watch.wait_set("container.pod", address)
    until(lambda: counts()[0] > 0, "it asks, perhaps again", SLOW)
    return line


PODMAN = [
    "allow from container:pod proto tcp dport 9000",
    "deny in network:podman proto tcp",
]


def test_podman(podman: None, tell: Callable[[str], None]) -> None:
    """Podman tells of an address only once the container runs; the table follows soon."""
    with Watch(*PODMAN) as watch:
        line = pod_knocks(watch)
        assert line["cause"] in ("container init pod", "container start pod")
        tell(f"in force {line['milliseconds']} ms after {line['cause']}")
        tell(f"{counts()[1]} packets were refused before that")
        run("podman", "kill", "pod")
        watch.wait_set("container.pod")
        remove("pod", tool="podman")


def test_podman_with_a_hook(podman: None, tell: Callable[[str], None]) -> None:
    """A hook tells of it before, and the container waits until the table is right."""
    folder = Path("/usr/share/containers/oci/hooks.d")
    folder.mkdir(parents=True, exist_ok=True)
    hook = {
        "version": "1.0.0",
        "hook": {"path": str(COMMAND), "args": ["ctrfw", "hook"]},
        "when": {"always": True},
        "stages": ["createRuntime"],
    }
    (folder / "ctrfw.json").write_text(json.dumps(hook))
    with Watch(*PODMAN) as watch:
        line = pod_knocks(watch)
        assert counts()[1] == 0, "its first packet was refused"
        tell(f"in force after {line['cause']}")
        # Who is not running any more has no address, whoever told of it.
        run("podman", "kill", "pod")
        watch.wait_set("container.pod")
        before = counts()[0]
        run("podman", "start", "pod")
        until(lambda: counts()[0] > before, "it asks again", SLOW)
        assert counts()[1] == 0
    # Without the watch containers start all the same.
    run("podman", "kill", "pod")
    run("podman", "start", "pod")
    remove("pod", tool="podman")
