#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Has Vagrant check the Vagrantfile, the settings of each provider, too. Exits with 77 where there is no Vagrant.
# Vagrant reads the settings of a provider only when it may use it. VirtualBox it takes for usable when VBoxManage tells its version, which a
# stand-in does; libvirt when the plugin is installed, no daemon is asked. `vagrant validate --ignore-provider` would look at neither.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if ! command -v vagrant >/dev/null; then
  echo "skipped: there is no vagrant on the path"
  exit 77
fi
scratch=$(mktemp --directory)
trap 'rm -rf "$scratch"' EXIT
export VAGRANT_CWD=$here/../.. VAGRANT_HOME=$scratch/home VAGRANT_DOTFILE_PATH=$scratch/dotfile
unset LAB_BOX VAGRANT_VAGRANTFILE

echo "virtualbox:"
PATH=$here/bin:$PATH VAGRANT_DEFAULT_PROVIDER=virtualbox vagrant validate
if vagrant plugin list | grep --quiet '^vagrant-libvirt '; then
  echo "libvirt:"
  VAGRANT_DEFAULT_PROVIDER=libvirt vagrant validate
else
  echo "libvirt: skipped, the plugin vagrant-libvirt is not installed"
fi
