#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The guest's side of `make demo`: see story.py. Wants the environment of
# qemu/run.sh: $CTRFW_KO, the checkout read-only, /results writable.
set -euo pipefail

: "${CTRFW_KO:?is the path of ctrfw.ko; start this by: make demo}"
export PYTHONDONTWRITEBYTECODE=1
here=$(dirname "$0")
# The story shares its reader of traces with the user's tool, its Docker with the
# scenarios.
PYTHONPATH=$here/../../scripts:$here/.. exec python3 "$here/story.py"
