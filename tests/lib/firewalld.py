# SPDX-License-Identifier: GPL-2.0
"""A real firewalld, without systemd."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lib.command import run
from lib.poll import until
from lib.scene import Scene

BUS = Path("/run/dbus")
LOG = Path("/run/firewalld.log")
# What zones the drawing's interfaces are in, as on a router: others are in `public`, too.
ZONES = {"wan0": "public", "lan0": "trusted"}
# It is written in Python, and starts slowly under emulation.
SLOW = 240.0
LISTINGS = 20


class Daemon:
    """firewalld."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until its rules are in force."""
        with LOG.open("ab") as log:
            self._process = subprocess.Popen(
                ["firewalld", "--nofork", "--nopid"], stdout=log, stderr=log
            )
        until(self._runs, "firewalld runs", SLOW)

    def _runs(self) -> bool:
        assert self._process and self._process.poll() is None, LOG.read_text()
        with contextlib.suppress(RuntimeError):
            return run("firewall-cmd", "--state") == "running"
        return False

    def stop(self) -> None:
        """Until its rules are gone."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def bus() -> Iterator[None]:
    """The system's message bus."""
    BUS.mkdir(exist_ok=True)
    pid = int(run("dbus-daemon", "--system", "--fork", "--nopidfile", "--print-pid"))
    try:
        yield
    finally:
        os.kill(pid, 15)


@contextlib.contextmanager
def running() -> Iterator[Daemon]:
    """Its backend is nftables, and the drawing's interfaces are in their zones, permanently."""
    daemon = Daemon()
    for interface, zone in ZONES.items():
        run("firewall-offline-cmd", f"--zone={zone}", f"--add-interface={interface}")
    with bus():
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.stop()


def settle() -> None:
    """Until nobody changes rules any more: engines that are told of a reload take their time."""
    last, same = "", 0

    def quiet() -> bool:
        nonlocal last, same
        rules = run("nft", "--stateless", "list", "ruleset")
        same = same + 1 if rules == last else 0
        last = rules
        # Listing them takes about as long as changing one, however slow the machine is.
        return same == LISTINGS

    until(quiet, "the rules stay as they are", SLOW)


class Disturbances:
    """What firewalld and its administrator do to a row's rules."""

    daemon: Daemon
    CHANGES = (
        "firewalld_reload",
        "firewalld_complete_reload",
        "firewalld_zones",
        "firewalld_restart",
    )

    def firewalld_reload(self, scene: Scene) -> None:
        """firewall-cmd --reload"""
        run("firewall-cmd", "--reload")
        settle()

    def firewalld_complete_reload(self, scene: Scene) -> None:
        """firewall-cmd --complete-reload"""
        run("firewall-cmd", "--complete-reload")
        settle()

    def firewalld_zones(self, scene: Scene) -> None:
        """an interface changes into the zone `trusted`, and back"""
        for zone in ("trusted", ZONES["wan0"]):
            run("firewall-cmd", f"--zone={zone}", "--change-interface=wan0")

    def firewalld_restart(self, scene: Scene) -> None:
        """firewalld stops, and starts again"""
        self.daemon.stop()
        self.daemon.start()
        settle()
