# SPDX-License-Identifier: GPL-2.0
"""insmod and rmmod.

Proven: one line tells of the load; no other module is needed or loaded; all ten hooks (five for
each family) are in every namespace, those that were there before and those made later; rmmod
takes everything away, and it can all be done again.
"""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from lib import control, kmsg, module
from lib.netns import HOST, Namespace, created
from lib.trace import Tracer

LOADED = re.compile(
    r"ctrfw: version (?P<version>\S+), hooks PRE_ROUTING LOCAL_IN FORWARD POST_ROUTING LOCAL_OUT"
    r" for IPv4 and IPv6 at NF_IP_PRI_FIRST in (?P<count>\d+) network namespaces?"
)
# What the kernel itself says of any out-of-tree module, the first time.
TAINT = re.compile(r"taints? kernel|tainting kernel|module verification failed")

NFT_HOOKS = {"prerouting", "input", "forward", "output", "postrouting"}
FIRST_PRIORITY = "-2147483648"


def own_lines(log: kmsg.Kmsg) -> list[str]:
    """What the log says of ctrfw, but for the kernel's standing remarks."""
    return [t for t in log.texts() if module.NAME in t and not TAINT.search(t)]


def hooks_of(netns: Namespace, family: str) -> list[tuple[str, str]]:
    """(hook, priority) of ctrfw's hooks in a namespace, as the kernel lists them."""
    found = []
    hook = ""
    for line in netns.run(["nft", "list", "hooks", family]).splitlines():
        words = line.split()
        if words[:1] == ["hook"]:
            hook = words[1]
        elif f"[{module.NAME}]" in line:
            found.append((hook, words[0]))
    return found


def test_one_line_each() -> None:
    """insmod and rmmod say one line each."""
    module.unload()
    log = kmsg.Kmsg()
    module.load()
    (line,) = own_lines(log)
    match = LOADED.fullmatch(line)
    assert match, line
    status = control.Status.read()
    assert match["version"] == status.version
    assert int(match["count"]) == status.namespaces
    module.unload()
    assert own_lines(log) == ["ctrfw: unloaded"]
    log.close()


def test_plain_insmod_and_rmmod() -> None:
    """The commands that a user types."""
    module.unload()
    subprocess.run(["insmod", str(module.KO), "max_rules=7"], check=True)
    control.load_rules(*["deny from 192.0.2.1"] * 7)
    with pytest.raises(OSError):
        control.load_rules(*["deny from 192.0.2.1"] * 8)
    subprocess.run(["rmmod", module.NAME], check=True)
    assert not module.is_loaded()


def test_needs_no_other_module() -> None:
    """It depends on nothing, brings nothing with it, and nothing else comes to be used by it."""
    depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + module.KO.read_bytes())
    assert depends and depends[1] == b""
    module.unload()
    before = Path("/proc/modules").read_text().splitlines()
    module.load()
    after = Path("/proc/modules").read_text().splitlines()
    assert {line.split()[0] for line in after} - {
        line.split()[0] for line in before
    } == {"ctrfw"}
    for line in after:
        name, _, _, users = line.split()[:4]
        assert module.NAME not in users.split(","), f"{name} is used by ctrfw"


def test_ten_hooks_in_every_namespace() -> None:
    """The kernel lists each hook once, in old and new namespaces, ahead of all others."""
    module.unload()
    with created("before") as before:
        module.load()
        with created("after") as after:
            for netns in (HOST, *before, *after):
                for family in ("ip", "ip6"):
                    hooks = hooks_of(netns, family)
                    assert sorted(hook for hook, _ in hooks) == sorted(NFT_HOOKS), netns
                    assert {priority for _, priority in hooks} == {FIRST_PRIORITY}, (
                        netns
                    )


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_hooks_act_in_old_and_new_namespaces(family: str) -> None:
    """A datagram over loopback passes four hooks of its namespace, whenever that was made."""
    address = "127.0.0.1" if family == "ipv4" else "::1"
    module.unload()
    with created("before") as before:
        module.load()
        tracer = Tracer()
        control.trace("proto udp dport 4000")
        with created("after") as after:
            for netns in (HOST, *before, *after):
                if netns is HOST:
                    HOST.ip("link set lo up")
                with netns.udp(address, 4000) as sock:
                    sock.sendto(b"x", (address, 4000))
                    sock.recv(10)
                lines = tracer.lines()
                assert [line.hook for line in lines] == [
                    "LOCAL_OUT",
                    "POST_ROUTING",
                    "PRE_ROUTING",
                    "LOCAL_IN",
                ]
                assert {line.netns for line in lines} == {netns.inode}
                assert {line.host for line in lines} == {netns is HOST}
        tracer.close()


def test_rmmod_leaves_nothing() -> None:
    """No hook, no file, no module: and what was denied goes through again."""
    with created("other") as (other,):
        control.load_rules("deny proto udp dport 4000")
        with other.udp("127.0.0.1", 4000) as sock, pytest.raises(PermissionError):
            sock.sendto(b"x", ("127.0.0.1", 4000))
        module.unload()
        assert not module.is_loaded()
        assert not control.DIRECTORY.exists()
        for netns in (HOST, other):
            for family in ("ip", "ip6"):
                assert not hooks_of(netns, family)
        with other.udp("127.0.0.1", 4000) as sock:
            sock.sendto(b"x", ("127.0.0.1", 4000))
            assert sock.recv(10) == b"x"


def test_twenty_times() -> None:
    """Loading and unloading can go on: each time the module works, and begins with nothing."""
    sock = HOST.udp("127.0.0.1", 4000)
    HOST.ip("link set lo up")
    for _ in range(20):
        module.unload()
        assert not control.DIRECTORY.exists()
        module.load()
        assert control.rules() == []
        assert control.Status.read().generation == 0
        sock.sendto(b"x", ("127.0.0.1", 4000))
        control.load_rules("deny proto udp dport 4000 hook local_out")
        with pytest.raises(PermissionError):
            sock.sendto(b"x", ("127.0.0.1", 4000))
    sock.close()


def test_module_is_not_loaded_twice() -> None:
    """A second insmod is refused, and the first goes on."""
    with pytest.raises(FileExistsError):
        module.load()
    assert control.DIRECTORY.exists()


def test_unused_socket_families_are_untouched() -> None:
    """Sockets that are no IP sockets work as ever."""
    control.load_rules("deny")
    left, right = socket.socketpair(socket.AF_UNIX)
    left.send(b"x")
    assert right.recv(1) == b"x"
    left.close()
    right.close()
