# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same in the documentation of every module that only reads, in check mode, too."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of a module that changes nothing."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Can run in check mode and reads the same.
  diff_mode:
    support: none
    description: Nothing is changed.
"""
