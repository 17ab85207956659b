# SPDX-License-Identifier: GPL-2.0
"""Loading and unloading, without starting a process for it."""

import ctypes
import os
from pathlib import Path

NAME = "ctrfw"
KO = Path(os.environ.get("CTRFW_KO", "ctrfw.ko"))
# QEMU without KVM
TCG = "QEMU TCG" in Path("/proc/cpuinfo").read_text()

_SYS_DELETE_MODULE = 176
_SYS_FINIT_MODULE = 313
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def names() -> set[str]:
    """The modules that are loaded."""
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def is_loaded() -> bool:
    """Whether ctrfw is."""
    return NAME in names()


# Tests that trace or log must not run into the limit that tests before them have used up.
UNLIMITED = {
    "trace_rate": 1_000_000,
    "trace_burst": 100_000,
    "log_rate": 1_000_000,
    "log_burst": 100_000,
}

_parameters: dict[str, int] = {}


def ensure(**parameters: int) -> None:
    """Loads ctrfw, unless it is there already with these very parameters.

    Unless they say otherwise, trace and log are as good as unlimited.
    """
    wanted = UNLIMITED | parameters
    if is_loaded():
        if wanted == _parameters:
            return
        unload()
    load(**wanted)


def load(**parameters: int) -> None:
    """Loads ctrfw, as insmod does."""
    _parameters.clear()
    _parameters.update(parameters)
    words = " ".join(f"{name}={value}" for name, value in parameters.items())
    fd = os.open(KO, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(
            _libc.syscall(_SYS_FINIT_MODULE, fd, words.encode(), 0),
            f"insmod {KO} {words}",
        )
    finally:
        os.close(fd)


def remove(name: str) -> None:
    """Unloads a module; an error if something uses it."""
    _check(
        _libc.syscall(_SYS_DELETE_MODULE, name.encode(), os.O_NONBLOCK), f"rmmod {name}"
    )


def unload() -> None:
    """Unloads ctrfw."""
    remove(NAME)
