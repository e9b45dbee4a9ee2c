"""Where files are kept that no disk need hold: tests that sync thousands of times would wait for it."""

from __future__ import annotations

import os

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory; None, where there is none, is the usual one."""
