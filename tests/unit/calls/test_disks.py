"""Ledgers on network file systems are told from local ones by the kernel's table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.calls.disks import NETWORK, file_system, free_bytes, is_on_network

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/local xfs rw 0 0
//nas/my\\040data /mnt/my\\040data cifs rw 0 0
lustre@tcp:/scratch /scratch lustre rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
tmpfs /scratch tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "ext4"),
        ("/runs/one/ledger.sqlite", "ext4"),
        ("/home/me/ledger.sqlite", "nfs4"),
        ("/home/local/ledger.sqlite", "xfs"),
        ("/home/localhost/ledger.sqlite", "nfs4"),
        ("/homework/ledger.sqlite", "ext4"),
        ("/mnt/my data/ledger.sqlite", "cifs"),
        ("/mnt/ssh/ledger.sqlite", "fuse.sshfs"),
        ("/scratch/ledger.sqlite", "tmpfs"),
    ],
)
def test_the_innermost_and_latest_mount_decides(path: str, expected: str) -> None:
    assert file_system(Path(path), MOUNTS) == expected


def test_what_other_machines_may_use_is_on_a_network() -> None:
    network = ["nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "gpfs", "ceph", "beegfs", "fuse.sshfs", "fuse.glusterfs"]
    local = ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "fuse.fuse-overlayfs", "fuseblk", "apfs"]
    assert [kind for kind in network + local if NETWORK.fullmatch(kind)] == network


def test_the_file_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"a / ext4 rw 0 0\nb {tmp_path.resolve()} nfs rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr("tunalm.calls.disks.MOUNTS", table)
    assert is_on_network(tmp_path / "none" / "ledger.sqlite")
    assert not is_on_network(Path("/ledger.sqlite"))
    monkeypatch.setattr("tunalm.calls.disks.MOUNTS", tmp_path / "no table")
    assert not is_on_network(tmp_path / "ledger.sqlite")


def test_room_is_that_of_the_disk(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 1 << 20
