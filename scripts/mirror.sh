#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a Debian root with mmdebstrap, from the mirror that this host's own apt
# uses, with its proxy and its keyring. To be sourced after lib.sh.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# "URI|keyring" of the archive that serves Debian itself: by the label in its
# Release file, so that neither the security archive nor others are taken,
# whatever they are called. apt reads either format of the source lists.
debian_archive() {
	apt-get indextargets --format '$(REPO_URI)|$(SIGNED_BY)|$(COMPONENT)|$(LABEL)' 'Created-By: Packages' |
		awk -F'|' '$3 == "main" && $4 == "Debian" { print $1 "|" $2; exit }'
}

# Sets mirror and, if the host trusts another one, keyring.
find_mirror() {
	local found file
	found=$(debian_archive)
	if [ -z "$found" ]; then
		# A fresh machine has no lists yet.
		logged apt-update "reading the host's package lists" "check the host's apt sources and network." apt-get update
		found=$(debian_archive)
	fi
	[ -n "$found" ] || die "found no Debian main archive in this host's apt sources." \
		"put one into /etc/apt/sources.list, then run apt-get update."
	mirror=${found%%|*}
	case $mirror in
	mirror+file:*)
		# A list of mirrors in a file of this host: a root has no such file.
		file=$(sed 's|^mirror+file:/*|/|; s|/$||' <<<"$mirror")
		mirror=$(grep -m 1 -oE '^[a-z+]+:[^[:space:]]+' "$file") || die "$file names no mirror."
		;;
	esac
	case ${found#*|} in
	/*) [ ! -r "${found#*|}" ] || keyring=${found#*|} ;;
	esac
}

# strap ROOT PACKAGE...: makes ROOT with the packages.
strap() {
	local root=$1 suite conf sources=()
	shift
	conf=$(mktemp)
	{
		apt-config dump | grep -iE '^Acquire::([a-z]+::)*(Proxy|CaInfo|Verify-Peer|Verify-Host|Check-Valid-Until)[^ ]* ' || true
		printf '%s\n' 'Acquire::Retries "3";' 'APT::Install-Recommends "false";'
	} >"$conf"
	for suite in trixie trixie-updates trixie-backports; do
		sources+=("deb [signed-by=$keyring] $mirror $suite main")
	done
	# The keyring is copied for the apt inside, which is given the same sources.
	mmdebstrap --variant=apt --mode=root --architectures=amd64 --skip=cleanup/apt/lists \
		--aptopt="$conf" --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--customize-hook="[ -e \"\$1$keyring\" ] || install -D -m 644 '$keyring' \"\$1$keyring\"" \
		--include="$(IFS=,; echo "$*")" trixie "$root" "${sources[@]}"
	rm -f "$conf"
}
