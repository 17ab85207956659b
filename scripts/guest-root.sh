#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of the guest's root: PATH/root (a folder, for UML and
# virtme-ng) and PATH/root.erofs (the same as an image, for QEMU). It carries
# the stock kernel's modules that have to do with networks and containers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mirror.sh"

packages=(
	# engines and firewalls
	docker.io docker-cli docker-compose containerd runc podman netavark aardvark-dns passt uidmap containernetworking-plugins
	firewalld libvirt-daemon libvirt-daemon-driver-network libvirt-clients dnsmasq-base iptables nftables ipset conntrack
	# talking and looking
	iproute2 iputils-ping iperf3 tcpdump socat netcat-openbsd curl ethtool strace
	# running the tests
	python3 python3-pytest python3-scapy python3-netfilterqueue busybox-static
	kmod procps util-linux mount hostname bash bsdextrautils ca-certificates
	# what virtme-ng wants of a root
	systemd udev dbus
)

# Folders of the kernel's modules (whole), then single files of big folders.
module_folders='net|crypto|lib|arch/x86/crypto|fs/(erofs|overlayfs|9p|netfs|fuse|nls|configfs|autofs)|drivers/(virtio|vhost|net/(macvlan|ipvlan|vxlan|wireguard|team|bonding)|char/hw_random)'
module_files='drivers/net/(veth|dummy|tun|tap|macvlan|macvtap|ifb|vrf|virtio_net|net_failover|mdio)|drivers/net/ipvlan/.*|drivers/block/(virtio_blk|loop)|drivers/char/virtio_console|net/core/failover'
module_not='net/(bluetooth|wireless|mac80211|mac802154|ieee802154|nfc|can|rds|sctp|tipc|sunrpc|ceph|batman-adv|dccp|atm|ax25|rose|netrom|lapb|x25|smc|rxrpc|hsr|6lowpan|phonet|decnet|appletalk)/'

fill() {
	local dir=$1 v src dst
	strap "$dir/root" "${packages[@]}"
	rm -rf "$dir"/root/var/lib/apt/lists/* "$dir"/root/var/cache/apt/*.bin "$dir"/root/usr/share/{icons,pixmaps,X11}
	mkdir -p "$dir"/root/{ctrfw,results,lower,var/lib/docker,var/lib/containerd}
	echo ctrfw >"$dir/root/etc/hostname"
	echo '127.0.0.1 localhost ctrfw' >"$dir/root/etc/hosts"

	# Unpacked once here, so that no modprobe has to do it under emulation.
	v=$(cat "$broot/opt/kernel/release")
	src=$(realpath "$broot/opt/kernel/modules") dst=$dir/root/usr/lib/modules/$v
	mkdir -p "$dst"
	cp "$src"/modules.{order,builtin,builtin.modinfo} "$dst/"
	(cd "$src" && find kernel -name '*.ko*' | grep -E "^kernel/(($module_folders)/|($module_files)\.ko)" |
		grep -vE "^kernel/$module_not") >"$dir/modules.list"
	copy_modules "$src" "$dst" <"$dir/modules.list"
	depmod -b "$dir/root" "$v" || depmod -b "$dir/root/usr" "$v"

	rm -f "$dir/modules.list"
	mkfs.erofs -zlz4 "$dir/root.erofs" "$dir/root" >/dev/null
	du -sh "$dir"/root "$dir/root.erofs"
}

# Copies the modules named on stdin, unpacked.
copy_modules() {
	local from=$1 to=$2
	tar -C "$from" -cf - -T - | tar -C "$to" -xf -
	find "$to" -name '*.ko.xz' -exec xz -d {} +
	find "$to" -name '*.ko.zst' -exec zstd -q -d --rm {} +
}

make_guest() {
	need_root "making the guest's root"
	"$TOP/scripts/host-packages.sh"
	find_mirror
	logged guest-root "making the guest's root (Debian 13 with container engines and firewalls; about 2 minutes)" \
		"check that the host's Debian mirror also serves trixie, then run again." fill "$1"
}

broot=$("$TOP/scripts/build-root.sh")
cached guest-root "$(key "$0" "$broot")" make_guest
