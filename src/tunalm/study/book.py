"""The file of a study: what raters are shown, and every order that they save, in SQLite.

Saves are only ever added: two tabs or two raters at once overwrite nothing, and what the page called saved is on disk.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunalm.errors import StoreError
from tunalm.store import replacing

TABLES = """
PRAGMA synchronous = OFF;          -- the whole file is waited for
PRAGMA journal_mode = WAL;
CREATE TABLE study (consent TEXT NOT NULL);
CREATE TABLE raters (name TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, consented REAL, consent_sha256 TEXT);
CREATE TABLE pages (
    rater TEXT NOT NULL, number INTEGER NOT NULL, question TEXT NOT NULL, answers TEXT NOT NULL,
    PRIMARY KEY (rater, number)
);
CREATE TABLE opened (rater TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE saves (
    id INTEGER PRIMARY KEY,
    rater TEXT NOT NULL, number INTEGER NOT NULL,
    places TEXT NOT NULL,          -- letter -> place, 1 is best, as JSON
    comment TEXT NOT NULL,
    seconds REAL NOT NULL,         -- spent on the page so far
    submitted INTEGER NOT NULL,    -- whether the rater has called it finished
    at REAL NOT NULL               -- seconds since 1970
);
CREATE INDEX saves_by_page ON saves (rater, number);
"""


@dataclass(frozen=True)
class Page:
    """What one rater sees at once."""

    rater: str
    number: int
    """From 0, in the order in which the rater sees them."""
    question: str
    answers: Mapping[str, str]
    """By letter, in the order in which they stand on the page."""


@dataclass(frozen=True)
class Save:
    """The state of a page when it was saved."""

    rater: str
    number: int
    places: Mapping[str, int]
    """By letter; 1 is best, equal numbers are ties. A letter without a place is missing."""
    comment: str
    seconds: float
    submitted: bool


class Book:
    """A study's file. Each call opens it anew, so that any thread or process may call."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StoreError(path, found="no study", expected="one", fix="Make it with `tunalm study make`.")
        self.path = path

    @classmethod
    def make(cls, path: Path, consent: str, tokens: Mapping[str, str], pages: Iterable[Page]) -> Book:
        """Write a new study, whole or not at all."""
        with replacing(path) as draft, closing(sqlite3.connect(draft)) as link, link:
            link.executescript(TABLES)
            link.execute("INSERT INTO study VALUES (?)", [consent])
            link.executemany("INSERT INTO raters (name, token) VALUES (?, ?)", tokens.items())
            link.executemany(
                "INSERT INTO pages VALUES (?, ?, ?, ?)",
                [(page.rater, page.number, page.question, json.dumps(page.answers)) for page in pages],
            )
        return cls(path)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as link, link:
                link.execute("PRAGMA journal_mode = WAL")
                link.execute("PRAGMA synchronous = FULL")
                yield link
        except sqlite3.DatabaseError as error:
            fix = "Take the file from a copy, or make a new study with `tunalm study make`."
            raise StoreError(self.path, found=f"a study that cannot be read ({error})", fix=fix) from error

    @property
    def consent(self) -> str:
        """What a rater agrees to."""
        with self._open() as link:
            return str(link.execute("SELECT consent FROM study").fetchone()[0])

    def rater(self, token: str) -> str | None:
        """Who has this token."""
        with self._open() as link:
            found = link.execute("SELECT name FROM raters WHERE token = ?", [token]).fetchone()
        return None if found is None else str(found[0])

    def raters(self) -> dict[str, bool]:
        """All raters, and whether each has agreed to take part."""
        with self._open() as link:
            return {name: at is not None for name, at in link.execute("SELECT name, consented FROM raters")}

    def agree(self, rater: str, consent_sha256: str) -> None:
        """Keep that a rater has agreed to the text with this hash, the first time."""
        with self._open() as link:
            link.execute(
                "UPDATE raters SET consented = ?, consent_sha256 = ? WHERE name = ? AND consented IS NULL",
                [time.time(), consent_sha256, rater],
            )

    def pages(self, rater: str) -> int:
        """How many pages a rater has."""
        with self._open() as link:
            return int(link.execute("SELECT count(*) FROM pages WHERE rater = ?", [rater]).fetchone()[0])

    def page(self, rater: str, number: int) -> Page | None:
        """A page, or None if the rater has none of that number."""
        query = "SELECT question, answers FROM pages WHERE rater = ? AND number = ?"
        with self._open() as link:
            found = link.execute(query, [rater, number]).fetchone()
        return None if found is None else Page(rater, number, found[0], json.loads(found[1]))

    def opened(self, rater: str, number: int) -> None:
        """Keep that a rater has just been shown a page."""
        with self._open() as link:
            link.execute("INSERT INTO opened VALUES (?, ?, ?)", [rater, number, time.time()])

    def seconds_open(self, rater: str, number: int) -> float:
        """Time since the page was last shown, for browsers without script."""
        query = "SELECT max(at) FROM opened WHERE rater = ? AND number = ?"
        with self._open() as link:
            (at,) = link.execute(query, [rater, number]).fetchone()
        return 0.0 if at is None else max(0.0, time.time() - at)

    def save(self, state: Save) -> None:
        """Add the state of a page; it is on disk when this returns."""
        row = [state.rater, state.number, json.dumps(state.places), state.comment, state.seconds, state.submitted]
        with self._open() as link:
            link.execute(
                "INSERT INTO saves (rater, number, places, comment, seconds, submitted, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [*row, time.time()],
            )

    def latest(self, rater: str | None = None) -> dict[tuple[str, int], Save]:
        """The last state of every page that was saved, by rater and number. A page once submitted stays so."""
        query = (
            "SELECT rater, number, places, comment, seconds, max(submitted) OVER (PARTITION BY rater, number), id"
            " FROM saves WHERE ? IS NULL OR rater = ? ORDER BY id"
        )
        with self._open() as link:
            rows = link.execute(query, [rater, rater]).fetchall()
        return {
            (name, number): Save(name, number, json.loads(places), comment, seconds, bool(submitted))
            for name, number, places, comment, seconds, submitted, _ in rows
        }
