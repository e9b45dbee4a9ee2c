"""Files that are whole or absent, rows in them, and hashes of what they hold. The run folder is made of such files:

RUN/
  config.yaml         the recipe as it was run, every knob filled in
  manifest.json       versions, input hashes, seeds, times and counts per stage
  ledger.sqlite       every answer of every language model
  STAGE/stage.json    fingerprint and state of the stage; `done` is written last
  STAGE/...           what the stage made: responses.jsonl, rankings.jsonl, model/, metrics.jsonl, results.json
  superseded/         what earlier settings made, taken back into use when the settings return
  results.json        of the last evaluation
  report.html
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tunalm.errors import DataError, StoreError, complaint
from tunalm.records import UNKNOWN
from tunalm.redaction import without_secrets

Row = TypeVar("Row", bound=BaseModel)

CARD = "README.md"
"""What a folder says of itself on a hub."""


@dataclass(frozen=True)
class Summary:
    """What a stage reports when it is done: requested = ok + failed + unknown."""

    requested: int
    ok: int
    failed: int = 0
    unknown: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, failures: Sequence[str | None], details: dict[str, Any]) -> Summary:
        """Count rows by their `failure`."""
        unknown = sum(failure is not None and failure.startswith(UNKNOWN) for failure in failures)
        failed = sum(failure is not None for failure in failures) - unknown
        return cls(len(failures), len(failures) - failed - unknown, failed, unknown, details)


def local_path(text: str | Path) -> Path:
    """What a text means as a path: `~` is the user's home, and `~somebody`, whom nobody knows, a plain name."""
    return Path(os.path.expanduser(text))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make all files of a folder, and the folder itself, durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)
    sync_folder(folder.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that they outlive a power cut; some may be there.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file beside `path`, to be written in the block; it takes the place of `path` when the block ends.

    The file at `path` is the old one or the new one, whatever happens; a block that fails leaves the old one.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _sync_file(temporary)
        allow_as_usual(temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        fix = "Free some space or choose another place, then run the same command again: it goes on from here."
        raise StoreError(path, found=f"'{error.strerror or error}' while writing", fix=fix) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


_UMASK = os.umask(0o022)
os.umask(_UMASK)  # it cannot be asked for without being set


def allow_as_usual(path: Path) -> None:
    """Give a file the permissions that new files have; temporary files, and those of some libraries, have fewer."""
    os.chmod(path, 0o666 & ~_UMASK)


def _sync_file(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, where: Path, busy: str, fix: str) -> Iterator[None]:
    """Hold a lock file for this process, whose name stands in it.

    Args:
        path: the lock file.
        where: what it stands for, for errors.
        busy: what was found if another process holds it.
        fix: what to do then.

    Raises:
        StoreError: another live process holds it, or the file system has no locks.
    """
    try:
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(where, found=str(error.strerror), fix="Choose another --run-dir.") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            owner = handle.read().strip() or "owner unknown"
            raise StoreError(where, found=f"{busy} ({owner})", fix=fix) from error
        except OSError as error:
            found = f"a file system that does not lock files ('{error.strerror}')"
            raise StoreError(where, found=found, fix="Give a --run-dir on a disk of this machine.") from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        yield


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens. No key gets into it.

    Raises:
        StoreError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    with replacing(path) as temporary:
        temporary.write_text(without_secrets(text), encoding="utf-8")


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        StoreError: there is no such file, or it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(path, found="text that is not UTF-8", fix="Save the file as UTF-8.") from error
    except OSError as error:
        raise StoreError(path, found=str(error.strerror), fix="Check the path.") from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


def read_record(path: Path, kind: type[Row]) -> Row | None:
    """The record that a JSON file holds; None if it is missing or holds another."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write records as JSONL, atomically, leaving out fields that are None; returns how many."""
    lines = [row.model_dump_json(exclude_none=True) for row in rows]
    write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read records from JSONL.

    Raises:
        DataError: the file does not exist, or a line is not a record of that kind (the line is named).
    """
    return list(iterate_rows(path, kind))


def iterate_rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    """Read records from JSONL one after the other: a file may be larger than memory.

    Raises:
        DataError: as `read_rows`, when that line is reached.
    """
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parse(kind, line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        found, expected = str(getattr(error, "strerror", None) or error), f"a UTF-8 JSONL file of {kind.__name__} rows"
        fix = "Check the path, or run the stage that writes it."
        raise DataError(path, found=found, expected=expected, fix=fix) from error


def _parse(kind: type[Row], line: str, where: str) -> Row:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        expected = f"one {kind.__name__} row as JSON"
        fix = "Correct or remove the line."
        raise DataError(where, found=f"{place}: {complaint(first)}", expected=expected, fix=fix) from error


def canonical(value: Any) -> str:
    """JSON with one spelling per value, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


LARGE_FILE = 1 << 20
"""Bytes from which a file is told by its size and time, and not by its content."""


def file_identity(path: Path) -> object:
    """What tells a file from another: its content, or size and time where it is large."""
    stat = path.stat()
    return file_digest(path) if stat.st_size < LARGE_FILE else [stat.st_size, stat.st_mtime_ns]


def folder_identity(folder: Path) -> str:
    """Hash of a model folder: small files by content, weights by size and time (they may be very large).

    Its card is left out: what is said of a model does not make it another one.
    """
    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CARD):
        stat = path.stat()
        content: object = file_digest(path) if stat.st_size < 1 << 20 else stat.st_mtime_ns
        entries.append([path.relative_to(folder).as_posix(), stat.st_size, content])
    return digest(entries)
