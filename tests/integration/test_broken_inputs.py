"""Every document in tests/cases/broken: an input that is broken or odd, and the one line that it must give.

A new document is a new case; the first one of a file is what its cases have in common.

what:   what is wrong
copy:   folders to begin with, by name; `tiny` is a model
first:  commands that succeed, before the input is broken
files:  by name: a text, bytes (!!binary), null for none, {gzip: content, cut: bytes},
        {repeat: text, times: n, before, then, after}, {link: target}
edit:   values to put into JSON files, by name; null takes a field away
run:    the command that must end with exit code 2 and one line; it may neither change a file nor speak to anybody
says:   parts of the line: where, what was found, what to do
leaves: patterns of the files that it may make or change, where what is wrong can only be found on the way
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_cases import CASES, typed

LINE = re.compile(r"tunalm: [^\n]+: [^\n]+[.?)] [^\n]+[.?]")
"""Where: what was found. What to do."""
LONGEST = 900
"""Characters of a line."""
GOOD = {
    "rows.jsonl": '{"instruction": "Say yes.", "output": "Yes."}\n{"instruction": "Say no.", "output": "No."}\n',
    "lists.jsonl": "".join(
        json.dumps({"id": name, "instruction": f"Say {name}.", "reference": name, "responses": responses}) + "\n"
        for name, responses in [
            ("yes", [{"text": "Yes.", "rank": 0}, {"text": "No.", "rank": 1}]),
            ("no", [{"text": "No.", "rank": 0}, {"text": "Yes.", "rank": 1}]),
        ]
    ),
}
"""Files that are there beside every case."""


def cases() -> Iterator[Any]:
    for path in sorted((CASES[0].parent / "broken").glob("*.yaml")):
        common, *documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        for case in documents:
            given = {"given": common.get("files", {})}
            yield pytest.param({**common, "files": {}} | given | case, id=f"{path.stem}: {case['what']}")


@pytest.mark.parametrize("case", [*cases()])
def test_broken_input_ends_in_one_line(
    case: dict[str, Any],
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, content in {**GOOD, **case["given"]}.items():
        put(Path(name), content)
    for name in case.get("copy", {}):
        shutil.copytree(tiny_model, name)
    for command in case.get("first", ()):
        assert typed(command.replace("{tiny}", str(tiny_model)), monkeypatch) == 0, capsys.readouterr().err
    for name, content in (case.get("files") or {}).items():
        put(Path(name), content)
    for name, values in case.get("edit", {}).items():
        kept = {**json.loads(Path(name).read_text(encoding="utf-8")), **values}
        Path(name).write_text(json.dumps({key: kept[key] for key in kept if kept[key] is not None}), encoding="utf-8")
    before = contents(tmp_path)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "connect_ex", refuse)
        code = typed(f"--quiet {case['run']}".replace("{tiny}", str(tiny_model)), monkeypatch)
    said = capsys.readouterr().err.strip()
    print(said)
    assert code == 2, said
    assert LINE.fullmatch(said), said
    assert len(said) < LONGEST
    assert all(char.isprintable() for char in said)
    assert not [part for part in case["says"] if part not in said], said
    after = contents(tmp_path)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not [name for name in changed if not any(Path(name).match(each) for each in case.get("leaves", ()))]


def put(path: Path, content: Any) -> None:
    """Make what a case describes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if isinstance(content, dict) and "link" in content:
        path.symlink_to(content["link"])
    elif content is not None:
        path.write_bytes(data_of(content))


def data_of(content: Any) -> bytes:
    match content:
        case str():
            return content.encode()
        case bytes():
            return content
        case {"gzip": inner}:
            packed = gzip.compress(data_of(inner), mtime=0)
            return packed[: len(packed) - content.get("cut", 0)]
        case {"repeat": text, "times": times}:
            middle = text * times + content.get("then", "") * times
            return f"{content.get('before', '')}{middle}{content.get('after', '')}".encode()
    raise ValueError(content)


def contents(folder: Path) -> dict[str, Any]:
    """What lies in a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def refuse(self: socket.socket, address: Any) -> None:
    raise AssertionError(f"it speaks to {address}")
