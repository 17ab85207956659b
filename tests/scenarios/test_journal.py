# SPDX-License-Identifier: GPL-2.0
"""The end: the module is unloaded for good, and nothing is left behind.

Each test before this one has watched the kernel's log; here it is asked for what it would only
tell when asked. This file runs last.
"""

import time

import pytest

from lib import module
from lib.kmsg import KMEMLEAK, Kmsg


def test_last_rmmod() -> None:
    """The last rmmod says its one line, and the kernel nothing."""
    with Kmsg() as log:
        module.unload()
        assert not module.is_loaded()
        assert [text for text in log.texts() if not text.startswith("ctrfw-test")] == [
            "ctrfw: unloaded"
        ]


@pytest.mark.skipif(
    not KMEMLEAK.exists(), reason="this kernel is built without kmemleak"
)
def test_no_memory_leaked() -> None:
    """Objects that nobody points to any more, with the module loaded and without it."""
    for loaded in (True, False):
        if not loaded:
            module.unload()
        # Younger objects than five seconds are not looked at, and one scan may be mistaken.
        time.sleep(6)
        KMEMLEAK.write_text("scan")
        time.sleep(6)
        KMEMLEAK.write_text("scan")
        assert KMEMLEAK.read_text() == ""
