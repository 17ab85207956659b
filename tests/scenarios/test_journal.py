# SPDX-License-Identifier: GPL-2.0
"""The end: the module is unloaded for good, and nothing is left behind.

Each test before this one has watched the kernel's log; here it is asked for what it would only
tell when asked. This file runs last.
"""

import pytest

from lib import kmemleak, module, nft
from lib.kmsg import Kmsg


def test_last_rmmod() -> None:
    """The last rmmod says its one line, and the kernel nothing about it."""
    with Kmsg() as log:
        module.unload()
        assert not module.is_loaded()
        # Devices of the tests before may still have something to say.
        assert [text for text in log.texts() if module.NAME in text] == [
            "ctrfw: unloaded"
        ]


@pytest.mark.skipif(
    not kmemleak.available(), reason="this kernel is built without kmemleak"
)
def test_no_memory_leaked(began: int) -> None:
    """Objects that nobody points to any more, once the module is gone.

    Netfilter replaces its list of a namespace's hooks whenever one comes or goes, ours included:
    only when all are gone is there no list left that was made in our name.
    """
    module.unload()
    nft.flush()
    if "br_netfilter" in module.names():
        module.remove("br_netfilter")
    module.load()
    module.unload()
    leaks = kmemleak.leaks(since=began)
    assert not leaks, "\n".join(leaks)
