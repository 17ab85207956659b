# SPDX-License-Identifier: GPL-2.0
"""The policies beside every engine: rows says which, each test file what is tried."""
