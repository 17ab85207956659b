#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of a Python environment with the tools that Debian 13 does
# not have (ruff), or has too old (virtme-ng). pip as set up on this host.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

tools=(ruff==0.17.6 virtme-ng==1.42 matplotlib==3.10.8)

fill() {
	/usr/bin/python3 -m venv --copies "$1"
	"$1/bin/python" -m pip install "${tools[@]}"
	# It is moved into place when finished: its scripts must know that place.
	find "$1/bin" -type f -size -64k -exec sed -i "1s|^#!$1/|#!$CACHE/python-tools-$id/|" {} +
}

make_tools() {
	"$TOP/scripts/host-packages.sh"
	logged python-tools "installing ${tools[*]} from PyPI" \
		"check that pip can reach an index (python3 -m pip download -d /tmp ruff)." fill "$1"
}

id=$(key "$0" "$(/usr/bin/python3 --version 2>&1)")
cached python-tools "$id" make_tools
