"""The tables of a ledger file, and how the file of an earlier version becomes one of this version."""

from __future__ import annotations

import json
import sqlite3

VERSION = 2

TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE requests (
    address TEXT PRIMARY KEY,        -- SHA-256 of engine and request
    engine TEXT NOT NULL,
    key TEXT NOT NULL,               -- of the request, for people
    state TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'sent', 'ok', 'failed', 'unknown')),
    completion TEXT,                 -- as JSON; of 'ok' and 'failed'
    call INTEGER REFERENCES calls,   -- the last one
    before TEXT,                     -- what 'sent' becomes again if that is refused: 'planned' or 'unknown'
    lost INTEGER NOT NULL DEFAULT 0  -- calls that nobody knows the outcome of
);
CREATE INDEX requests_by_call ON requests (call) WHERE call IS NOT NULL;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    engine TEXT NOT NULL,
    addresses TEXT NOT NULL,         -- of the requests that it was to answer, in order, as JSON
    duplicates INTEGER NOT NULL,     -- how many of them were of unknown outcome before
    sent REAL NOT NULL,              -- seconds since 1970
    ended REAL,
    status INTEGER,                  -- of HTTP; NULL as long as there is no reply
    body BLOB,                       -- of the reply, compressed with zlib
    reason TEXT,                     -- why there is no reply
    reserved REAL NOT NULL,          -- dollars that it could cost at most
    cost REAL,                       -- dollars that it has cost; NULL if nobody knows
    prompt_tokens INTEGER,
    completion_tokens INTEGER
);
CREATE INDEX open_calls ON calls (engine) WHERE ended IS NULL;
CREATE TABLE facts (
    engine TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (engine, name)
) WITHOUT ROWID;
"""

FROM_VERSION_1 = """
INSERT INTO requests (address, engine, key, state, completion)
    SELECT address, engine, key, 'ok', completion FROM attempts WHERE failure IS NULL;
INSERT INTO requests (address, engine, key, state, completion)
    SELECT address, engine, key, 'failed', completion FROM attempts WHERE failure IS NOT NULL ORDER BY id DESC
    ON CONFLICT DO NOTHING;
DROP TABLE attempts;
"""

END = f"""
PRAGMA user_version = {VERSION};
COMMIT;
"""


def migrate(link: sqlite3.Connection) -> str | None:
    """Make an empty file, or the ledger of an earlier version, a ledger of this version, all or nothing.

    Returns:
        What the file is instead, if it is neither; it is then left alone.
    """
    (version,) = link.execute("PRAGMA user_version").fetchone()
    (names,) = link.execute("SELECT json_group_array(name) FROM sqlite_master WHERE type = 'table'").fetchone()
    tables = set(json.loads(names))
    if version == VERSION and {"requests", "calls", "facts"} <= tables:
        return None
    if version == 1 and "attempts" in tables:
        link.executescript(TABLES + FROM_VERSION_1 + END)
        return None
    if tables or version:
        return f"an SQLite file that is no ledger of version 1 to {VERSION}"
    link.executescript(TABLES + END)
    return None
