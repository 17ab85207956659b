#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Which Debian mirror the roots come from: the one this host's apt uses, with
# its proxy. To be sourced after lib.sh.

# Read by the scripts that make roots.
# shellcheck disable=SC2034
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Every archive of the host's apt, one "URI|site|origin" a line, from either
# format of the source lists (apt itself reads them).
apt_archives() {
	apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)|$(LABEL)' 'Created-By: Packages' 2>/dev/null | sort -u
}

# The URI that serves Debian's main archive, by the label in its Release file.
# Before the first apt-get update there is none to read: go by the sources.
mirror_uri() {
	local uri
	uri=$(apt_archives | awk -F'|' '$2 == "main" && $3 == "Debian" { print $1; exit }')
	[ -n "$uri" ] || uri=$(
		apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)|$(RELEASE)' 'Created-By: Packages' 2>/dev/null |
			awk -F'|' '$2 == "main" && $1 !~ /security/ && $3 ~ /^(bookworm|trixie|stable|oldstable|forky|testing)$/ { print $1; exit }'
	)
	[ -n "$uri" ] || die "found no Debian main archive in this host's apt sources." \
		"put one into /etc/apt/sources.list, then apt-get update."
	printf '%s\n' "$uri"
}

# The host's proxy and certificate settings, as an apt.conf for a root.
mirror_aptconf() {
	apt-config dump | grep -iE '^Acquire::([a-z]+::)*(Proxy|CaInfo|Retries|Timeout|Verify-Peer|Verify-Host)[^ ]* ' || true
	echo 'Acquire::Retries "3";'
}
