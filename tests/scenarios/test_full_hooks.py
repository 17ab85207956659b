# SPDX-License-Identifier: GPL-2.0
"""A namespace whose owner has filled a hook with chains of his own.

Netfilter takes 1024 hooks at one place and refuses more. Whoever owns a namespace can fill it;
that must not keep ctrfw from being loaded. Proven: it loads, names the namespace in the log,
protects all others, and unloads again.
"""

import errno

import pytest

from lib import control, module, nft
from lib.kmsg import Kmsg
from lib.netns import HOST, Namespace, up

MAX_HOOK_COUNT = 1024


def test_full_namespace_is_left_out() -> None:
    """All others are filtered."""
    module.unload()
    owner, other = Namespace.create_bare("owner"), Namespace.create_bare("other")
    chains = "".join(
        f"chain c{number} {{ type filter hook prerouting priority 0; }}\n"
        for number in range(MAX_HOOK_COUNT)
    )
    nft.load(f"table ip full {{\n{chains}}}\n", owner)
    log = Kmsg()
    module.load()
    assert [text for text in log.texts() if "no room for hooks" in text] == [
        f"ctrfw: netns {owner.inode}: no room for hooks, is not filtered"
    ]
    log.close()
    control.load_rules("default deny netns container")
    for netns, error in ((owner, None), (other, errno.EPERM)):
        up(netns, "lo")
        with netns.udp("127.0.0.1") as sock:
            if error is None:
                sock.sendto(b"x", ("127.0.0.1", 4000))
            else:
                with pytest.raises(PermissionError):
                    sock.sendto(b"x", ("127.0.0.1", 4000))
    # Neither unloading nor the namespace's end miss the hooks that never were.
    module.unload()
    module.load()
    owner.delete()
    other.delete()
    assert HOST.links()
