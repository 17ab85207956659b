# SPDX-License-Identifier: GPL-2.0
"""Programs of the guest."""

import subprocess


def run(*words: str) -> str:
    """What a program has to say; RuntimeError if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()
