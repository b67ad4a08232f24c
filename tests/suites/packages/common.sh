# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the steps inside a machine share; sourced. They say what all tests say.
set -uo pipefail

# shellcheck source=tests/fixtures/commands.sh
. /run/fixtures/commands.sh

# Packages of ours by name, the others' by theirs.
install_packages() { # NAME...
	local name words=()

	for name; do
		case $name in
		*myepoll*) words+=(/run/debs/"$name"_*.deb) ;;
		*) words+=("$name") ;;
		esac
	done
	apt-get -q -y install "${words[@]}"
}

headers_of() { # PACKAGE, one that stands for the newest of its kind
	apt-cache depends "$1" | sed -n 's/^ *Depends: linux-headers-//p'
}

# dkms has made the module for a kernel.
has_module() { # RELEASE VERSION
	is "dkms has a module for $1" \
		"$(dkms status -m myepoll -k "$1" | sed 's/[[:space:]]*(.*//')" \
		"myepoll/$2, $1, x86_64: installed"
	is "it is version $2 for that kernel" \
		"$(modinfo -k "$1" -F version myepoll) $(modinfo -k "$1" -F vermagic myepoll | cut -d ' ' -f 1)" \
		"$2 $1"
}

# Each file's name, and its content below /etc, but for what apt and dpkg keep for themselves.
list_files() {
	find / -xdev \( -path /var/cache -o -path /var/log -o -path /var/lib/apt -o -path /tmp \
		-o -path /run -o -path /proc -o -path /sys -o -path /dev -o -path '/var/lib/dpkg/*-old' -o -path /etc/ld.so.cache \) \
		-prune -o ! -path '/etc/*' -print -o -type f -exec md5sum {} + -o -print | sort
}
