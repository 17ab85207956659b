#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of the unpacked source of the kernel in the build root,
# without the parts (most drivers, other architectures) that none of our
# kernels compiles. Every kernel tree is an output folder beside it (O=).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$("$TOP/scripts/build-root.sh")

# The Makefiles and Kconfig files must stay: kbuild reads them all.
skip=(
	'linux-source-*/Documentation/*.rst' 'linux-source-*/Documentation/*.yaml' 'linux-source-*/Documentation/*.svg'
	'linux-source-*/drivers/accel/*.[ch]' 'linux-source-*/drivers/gpu/*.[ch]'
	'linux-source-*/drivers/infiniband/*.[ch]' 'linux-source-*/drivers/media/*.[ch]'
	'linux-source-*/drivers/net/ethernet/*.[ch]' 'linux-source-*/drivers/net/wireless/*.[ch]'
	'linux-source-*/drivers/scsi/*.[ch]' 'linux-source-*/drivers/staging/*.[ch]'
	'linux-source-*/sound/*.[ch]' 'linux-source-*/tools/testing' 'linux-source-*/tools/perf'
)
for arch in alpha arc arm arm64 csky hexagon loongarch m68k microblaze mips nios2 openrisc parisc powerpc riscv s390 sh sparc xtensa; do
	skip+=("linux-source-*/arch/$arch/*.[chS]" "linux-source-*/arch/$arch/boot/dts")
done

unpack() {
	tar -C "$1" --strip-components=1 "${skip[@]/#/--exclude=}" -xf "$root"/usr/src/linux-source-*.tar.xz
}
make_source() {
	logged kernel-source "unpacking the kernel's source (half a minute)" \
		"check the free space of $CACHE, then run again." unpack "$1"
}

cached kernel-source "$(key "$root" "${skip[@]}")" make_source
