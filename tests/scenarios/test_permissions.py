# SPDX-License-Identifier: GPL-2.0
"""Who may open the files of /proc/ctrfw: root of the host itself, and nobody else.

The permission bits keep users out. They do not keep containers out, whose root is root to them:
the module itself asks for CAP_NET_ADMIN in the initial user namespace, and for the opener to be
in the initial network namespace.
"""

import ctypes
import errno
import itertools
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import control
from lib.background import Background, Stop
from lib.control import EVENTS, FILES, RULES, STATUS, TRACE
from lib.netns import created

CAP_NET_ADMIN = 12
CAP_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def opened(path: Path, flags: int) -> None:
    """Opens a file, and closes it again."""
    os.close(os.open(path, flags))


def become_user() -> None:
    """A user without any privilege."""
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)


def lose_net_admin() -> None:
    """Root of the host, but for CAP_NET_ADMIN."""
    header = struct.pack("@Ii", CAP_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    assert _libc.capget(header, data) == 0
    words = list(struct.unpack("@6I", data.raw))
    for index in range(3):
        words[index] &= ~(1 << CAP_NET_ADMIN)
    assert _libc.capset(header, struct.pack("@6I", *words)) == 0


def keep_only_net_admin() -> None:
    """Root of the host with nothing but CAP_NET_ADMIN: what a policy daemon would keep."""
    header = struct.pack("@Ii", CAP_VERSION_3, 0)
    bit = 1 << CAP_NET_ADMIN
    assert _libc.capset(header, struct.pack("@6I", bit, bit, 0, 0, 0, 0)) == 0


def privileged_container() -> None:
    """Root with all capabilities and the host's users, in a network namespace of its own."""
    os.unshare(os.CLONE_NEWNET)


def user_namespace() -> None:
    """Root of a user namespace of its own, which owns root's files, in the host's network."""
    os.unshare(os.CLONE_NEWUSER)
    Path("/proc/self/uid_map").write_text("0 0 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text("0 0 1")


def unprivileged_container() -> None:
    """Root of user and network namespaces of its own."""
    user_namespace()
    os.unshare(os.CLONE_NEWNET)


def rootless_container() -> None:
    """What a user's own container runs as: a user namespace that a user made."""
    become_user()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)


# Who -> what open(2) says. Whom the bits stop, the module need not: that is EACCES.
REFUSED: dict[Callable[[], None], str] = {
    become_user: "EACCES",
    rootless_container: "EACCES",
    lose_net_admin: "EPERM",
    privileged_container: "EPERM",
    user_namespace: "EPERM",
    unprivileged_container: "EPERM",
}
FLAGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY,
    "replace": os.O_WRONLY | os.O_TRUNC,
    "add": os.O_WRONLY | os.O_APPEND,
    "both": os.O_RDWR,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_modes(path: Path) -> None:
    """All files are root's, and readable and writable for it alone."""
    info = path.stat()
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert (info.st_uid, info.st_gid) == (0, 0)


def test_there_are_no_other_files() -> None:
    """Nothing else in the folder could tell of the policy."""
    assert sorted(control.DIRECTORY.iterdir()) == sorted(FILES)


def attempts(who: Callable[[], None]) -> dict[str, str]:
    """What open(2) says to somebody, of each file in each mode."""

    def work(_: Stop) -> dict[str, str]:
        who()
        said = {}
        for path, (name, flags) in itertools.product(FILES, FLAGS.items()):
            said[f"{name} {path.name}"] = ""
            try:
                os.close(os.open(path, flags))
            except OSError as error:
                said[f"{name} {path.name}"] = errno.errorcode[error.errno or 0]
        return said

    return Background(work).result()


@pytest.mark.parametrize("who", REFUSED, ids=lambda who: who.__name__)
def test_refused(who: Callable[[], None]) -> None:
    """Neither reading nor writing, and the policy is as it was."""
    control.load_rules("deny from 192.0.2.1")
    control.trace("proto tcp dport 22")
    generation = control.Status.read().generation
    said = attempts(who)
    assert len(said) == len(FILES) * len(FLAGS)
    assert {name: error for name, error in said.items() if error != REFUSED[who]} == {}
    assert control.rules() == ["deny from 192.0.2.1"]
    assert TRACE.read_text() == "proto tcp dport 22\n"
    assert control.Status.read().generation == generation


def test_another_namespace_of_the_same_root() -> None:
    """Not even the host's own root may, while it is in another network namespace."""
    with created("other") as (other,), other:
        for path in FILES:
            with pytest.raises(PermissionError) as caught:
                opened(path, os.O_RDONLY)
            assert caught.value.strerror == os.strerror(1)
    for path in FILES:
        opened(path, os.O_RDONLY)


def test_root_may() -> None:
    """Root reads all files, and writes those that can be written."""
    for path in FILES:
        opened(path, os.O_RDONLY)
        if path != EVENTS:
            path.read_text()
    for path in (RULES, TRACE):
        opened(path, os.O_WRONLY)
        opened(path, os.O_RDWR)


def test_net_admin_is_enough() -> None:
    """Root needs no other capability."""
    said = attempts(keep_only_net_admin)
    assert all(said[f"read {path.name}"] == "" for path in FILES)
    assert said["add rules"] == said["both trace"] == ""


def test_read_only() -> None:
    """The status file and the events take nothing, from anybody."""
    modes = (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC)
    for path, flags in itertools.product((STATUS, EVENTS), modes):
        with pytest.raises(PermissionError):
            os.close(os.open(path, flags))
