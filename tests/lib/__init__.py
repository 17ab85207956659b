# SPDX-License-Identifier: GPL-2.0
"""What the scenarios share: namespaces, packets, the module and what it says."""
