"""On what kind of disk a file lies: SQLite keeps its journal in another way where the file is shared over a network."""

from __future__ import annotations

import os
import re
from pathlib import Path

NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|mmfs|beegfs|glusterfs|orangefs|pvfs2|panfs|wekafs|ncpfs"
    r"|virtiofs|vboxsf|prl_fs|fuse\.(?!fuse-overlayfs|fuseblk|ext|ntfs|exfat|mergerfs|encfs|gocryptfs|cryfs|lxcfs).+"
)
"""Types of file systems whose files other machines may use too, or whose shared memory cannot be relied on. What is
mounted by a program in user space counts, but for the ones that are known to be local."""

MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_on_network(path: Path) -> bool:
    """Whether a file, which need not be there yet, lies (or will lie) on a network file system."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False  # not Linux: nothing is known
    return NETWORK.fullmatch(file_system(path.resolve(), mounts)) is not None


def file_system(path: Path, mounts: str) -> str:
    """Type of the file system that an absolute path is on.

    Args:
        path: without symbolic links.
        mounts: the table of the kernel, as in `/proc/self/mounts`; of two equal mount points the later one counts.
    """
    found, depth = "", -1
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        folder = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), point))
        if path.is_relative_to(folder) and len(folder.parts) >= depth:
            found, depth = kind, len(folder.parts)
    return found


def free_bytes(folder: Path) -> int:
    """Room that is left on the disk that a folder is on."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
