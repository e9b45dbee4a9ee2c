"""What a disk may hold after a power cut: the system calls of a program, by `strace`, and the states that they allow.

What is not synced when the power goes may be there or not. Of a file: every write, whole, or in pieces of 512 or 4,096
bytes, and every change of its size, in any order. Of a folder: every name that was given, changed or taken, except that
what was done to one name lasts in that order. A rename is whole or not there. Of all this, a sync of a file lets its
content last and not its name, and a sync of a folder its names.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,write,pwrite64,writev,pwritev,lseek,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,unlink,"
    "unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,copy_file_range,sendfile"
)
IGNORED = re.compile(r"-shm$|\.lock$|/__pycache__")
"""SQLite makes its shared memory anew; a lock holds nothing."""
ACKNOWLEDGED = "acknowledged"
"""Name of a file beside the traced folder: each line that is written to it is something that somebody was told."""
SIZES = (512, 4096)
_LINE = re.compile(
    r"(\d+)\s+(?:(\w+)\((.*)\)\s+=\s+(-?\d+)(?:<([^>]*)>)?|(\w+\(.*) <unfinished \.\.\.>|<\.\.\. (\w+) resumed>(.*))"
)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_HANDLE = re.compile(r"^(?:\d+|AT_FDCWD)<([^>]*)>")


def record(program: str, root: Path, *words: str) -> list[Call]:
    """The changes that a Python program makes under a folder (its first argument), in order."""
    log = root.with_name("trace.txt")
    command = ["strace", "-f", "-qq", "-y", "-xx", "-s", "100000000", "--seccomp-bpf", "-e", f"trace={CALLS}"]
    command += ["-e", "signal=none", "-o", str(log), sys.executable, "-c", program, str(root), *words]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).parents[2])
    with open(log, encoding="utf-8") as lines:
        return list(_calls(lines, root))


@dataclass(frozen=True)
class Call:
    """A change."""

    name: str
    paths: tuple[str, ...]
    """Below the folder; the first and, for a rename, the second."""
    data: bytes = b""
    at: int = 0
    """Where it is written, or the new size."""


def _calls(lines: Iterator[str], root: Path) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    places: dict[int, int] = {}
    for line in lines:
        match = _LINE.match(line)
        if match and match[6]:
            unfinished[match[1]] = match[6]
        if match and match[7]:
            match = _LINE.match(f"{match[1]} {unfinished.pop(match[1])}{match[8]}")
        if match and match[2] and int(match[4]) >= 0:
            yield from _call(match[2], match[3], int(match[4]), places, root)


def _call(name: str, said: str, result: int, places: dict[int, int], root: Path) -> Iterator[Call]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(said)]
    handle = _HANDLE.match(said)
    number = int(said.split("<")[0]) if handle and said[0].isdigit() else -1
    where = _text(handle[1]) if handle else ""
    if name == "openat":
        places[result] = 0
        path = os.path.join(where, texts[0].decode())
        if "O_CREAT" in said or "O_TRUNC" in said:
            yield from _inside(root, "create", [path])
        if "O_TRUNC" in said:
            yield from _inside(root, "resize", [path])
        if "O_APPEND" in said:
            places[result] = -1
    elif name in ("write", "writev"):
        data = b"".join(texts)[:result]
        yield from _inside(root, "write", [where], data, places.get(number, 0))
        if places.get(number, 0) >= 0:
            places[number] = places.get(number, 0) + result
    elif name == "pwrite64":
        yield from _inside(root, "write", [where], texts[0][:result], int(said.rsplit(",", 1)[1]))
    elif name == "lseek":
        places[number] = result
    elif name == "ftruncate":
        yield from _inside(root, "resize", [where], at=int(said.rsplit(",", 1)[1]))
    elif name in ("fsync", "fdatasync"):
        yield from _inside(root, "sync", [where])
    elif name.startswith("rename"):
        folders = [_text(found) for found in re.findall(r"AT_FDCWD<([^>]*)>", said)] or [""] * 2
        yield from _inside(root, "rename", [os.path.join(*pair) for pair in zip(folders, _names(texts), strict=True)])
    elif name.startswith("mkdir"):
        yield from _inside(root, "mkdir", [os.path.join(where, *_names(texts))])
    elif name.startswith(("unlink", "rmdir")):
        yield from _inside(root, "remove", [os.path.join(where, *_names(texts))])
    else:
        assert str(root) not in where, f"{name} is not understood"


def _names(texts: Sequence[bytes]) -> list[str]:
    return [text.decode() for text in texts]


def _text(said: str) -> str:
    return bytes.fromhex(said.replace("\\x", "")).decode() if said.startswith("\\x") else said


def _inside(root: Path, name: str, paths: Sequence[str], data: bytes = b"", at: int = 0) -> Iterator[Call]:
    if paths[0] == str(root.with_name(ACKNOWLEDGED)) and name == "write":
        yield Call("acknowledge", (), data)
    below = tuple(os.path.relpath(path, root.parent) for path in paths if Path(path).is_relative_to(root))
    below = (".",) if name == "sync" and paths[0] == str(root.parent) else below
    if below and not any(IGNORED.search(path) for path in below):
        assert len(below) == len(paths), "a rename out of the folder"
        yield Call(name, below, data, at)


class File:
    """What is in a file: as it was synced last, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = self.live = b""
        self.loose: list[tuple[int, bytes | None]] = []
        """Data and where, or a new size."""

    def change(self, at: int, data: bytes | None) -> None:
        """Write, or change the size."""
        at = len(self.live) if at < 0 else at
        self.loose.append((at, data))
        self.live = _changed(self.live, at, data)


def _changed(content: bytes, at: int, data: bytes | None) -> bytes:
    if data is None:
        return content[:at].ljust(at, b"\0")
    return content[:at].ljust(at, b"\0") + data + content[at + len(data) :]


@dataclass(eq=False)
class Folder:
    """Names, likewise."""

    synced: dict[str, Node] = field(default_factory=dict)
    live: dict[str, Node] = field(default_factory=dict)


Node = File | Folder
Name = tuple[Folder, str]


@dataclass(eq=False)
class Naming:
    """Names that change together: each gets a node, or None."""

    names: list[tuple[Name, Node | None]]

    def touched(self) -> set[Name]:
        """The names."""
        return {(id(folder), name) for (folder, name), _ in self.names}  # type: ignore[misc]


class Disk:
    """The disk below the folder that holds the traced one."""

    def __init__(self) -> None:
        self.root = Folder()
        self.loose: list[Naming] = []
        self.told: list[str] = []

    def apply(self, call: Call) -> None:
        """Let a call happen."""
        if call.name == "acknowledge":
            self.told += call.data.decode().splitlines()
        elif call.name in ("create", "mkdir"):
            if not self._known(call.paths[0]):
                self._name([(self._place(call.paths[0]), File() if call.name == "create" else Folder())])
        elif call.name == "rename":
            old, new = map(self._place, call.paths)
            self._name([(new, old[0].live[old[1]]), (old, None)])
        elif call.name == "remove":
            self._name([(self._place(call.paths[0]), None)])
        elif call.paths[0] == ".":
            self._sync(self.root)
        elif self._known(call.paths[0]):  # else it was removed while it was open
            folder, name = self._place(call.paths[0])
            node = folder.live[name]
            if call.name == "sync":
                self._sync(node)
            else:
                assert isinstance(node, File)
                node.change(call.at, call.data if call.name == "write" else None)

    def _place(self, path: str) -> Name:
        *folders, name = path.split("/")
        here = self.root
        for each in folders:
            found = here.live[each]
            assert isinstance(found, Folder)
            here = found
        return here, name

    def _known(self, path: str) -> bool:
        try:
            folder, name = self._place(path)
        except KeyError:
            return False
        return name in folder.live

    def _name(self, names: list[tuple[Name, Node | None]]) -> None:
        naming = Naming(names)
        self.loose.append(naming)
        for (folder, name), node in names:
            folder.live.pop(name, None)
            if node is not None:
                folder.live[name] = node

    def _sync(self, node: Node) -> None:
        if isinstance(node, File):
            node.synced, node.loose = node.live, []
            return
        kept = self._with_earlier({each for each in self.loose if any(folder is node for (folder, _), _ in each.names)})
        for each in kept:
            for (folder, name), named in each.names:
                folder.synced.pop(name, None)
                if named is not None:
                    folder.synced[name] = named
        self.loose = [each for each in self.loose if each not in kept]

    def _with_earlier(self, chosen: set[Naming]) -> list[Naming]:
        """Those chosen and what was done before to their names, in order."""
        needed: set[Name] = set()
        kept = []
        for each in reversed(self.loose):
            if each in chosen or needed & each.touched():
                kept.append(each)
                needed |= each.touched()
        return kept[::-1]

    def after_a_cut(self, dice: random.Random) -> dict[str, bytes | None]:
        """A state in which the disk may be: content by path, None for a folder."""
        names, data = dice.choice([(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.9, 0.5), (0.5, 0.9)])
        torn = dice.choice([0, *SIZES])
        renamed = self._with_earlier({each for each in self.loose if dice.random() < names})
        changed: dict[int, dict[str, Node]] = {}
        for each in renamed:
            for (folder, name), node in each.names:
                entries = changed.setdefault(id(folder), dict(folder.synced))
                entries.pop(name, None)
                if node is not None:
                    entries[name] = node
        found: dict[str, bytes | None] = {}

        def walk(folder: Folder, path: str) -> None:
            for name, node in changed.get(id(folder), folder.synced).items():
                below = f"{path}{name}"
                if isinstance(node, Folder):
                    found[below] = None
                    walk(node, f"{below}/")
                else:
                    found[below] = _content(node, data, torn, dice)

        walk(self.root, "")
        return found


def _content(file: File, share: float, torn: int, dice: random.Random) -> bytes:
    content = file.synced
    for at, data in file.loose:
        if data is None or not torn:
            if dice.random() < share:
                content = _changed(content, at, data)
            continue
        for start in range(-(at % torn), len(data), torn):  # where the pieces of the file begin
            if dice.random() < share:
                content = _changed(content, at + max(start, 0), data[max(start, 0) : start + torn])
    return content


def cut(calls: Sequence[Call], states: int, seed: int, folder: Path, check: Callable[[Path, list[str]], None]) -> int:
    """Check states after cuts at all points of a run, in a folder that is made anew for each.

    Args:
        calls: of the run.
        states: how many to look at, at most; a state that has come up before does not count.
        seed: of the dice.
        folder: where they are made.
        check: told the folder and what had been acknowledged.

    Returns:
        How many were looked at.
    """
    dice, disk, seen, count = random.Random(seed), Disk(), set(), 0
    for number, call in enumerate(calls):
        disk.apply(call)
        for _ in range(-(-2 * (states - count) // (len(calls) - number))):
            state = disk.after_a_cut(dice)
            mark = hashlib.sha256(repr((sorted(state.items()), len(disk.told))).encode()).digest()
            if mark in seen or count >= states:
                continue
            seen.add(mark)
            count += 1
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path, content in state.items():
                if content is None:
                    (folder / path).mkdir(parents=True, exist_ok=True)
                else:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(content)
            try:
                check(folder, list(disk.told))
            except BaseException:
                sizes = {path: content and len(content) for path, content in state.items()}
                print(f"seed {seed}, state {count}, call {number} of {len(calls)}, {call.name} {call.paths}: {sizes}")
                raise
    return count
