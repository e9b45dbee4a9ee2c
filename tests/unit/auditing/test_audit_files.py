"""Two files side by side, and what an audit writes."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tunalm.auditing import audit, audit_files, audit_table, write_audit
from tunalm.auditing.matching import Matching, match, read_lists, read_raters
from tunalm.errors import DataError
from tunalm.records import Ranking, Response
from tunalm.store import write_rows

HOSTILE = '<script>alert("&")</script>\x1b[31m\u202e'


def make_list(name: str, *responses: tuple[str, int | None], model: str = "") -> Ranking:
    made = [Response(text=text, rank=rank, model=model) for text, rank in responses]
    return Ranking(id=name, instruction="Go.", responses=made)


def table(path: Path, *lines: tuple[object, object, object]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "position", "rank"), *lines])
    return path


def beside(rows: list[Ranking], *others: list[Ranking]) -> Matching:
    """Lists with the orders of raters named 0, 1 ..., as files of theirs would give them."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jsonl" for number in range(len(others))]
        for path, lists in zip(paths, others, strict=True):
            write_rows(path, lists)
        return match(rows, read_raters(paths, rows), "files")


def test_lists_are_matched_by_id_and_text_whatever_the_order() -> None:
    one = [make_list("a", ("x", 0), ("y", 1), ("z", 2)), make_list("only", ("x", 0), ("y", 1))]
    other = [make_list("a", ("z", 0), ("w", 1), ("x", 2)), make_list("b", ("x", 0), ("y", 1))]
    found = beside(one, other)
    assert [(each.places, each.ranks, each.others) for each in found.lists] == [([0, 2], [0, 2], [2, 0])]
    assert (found.lists_alone, found.responses_alone) == (1, 1)
    equal = beside([make_list("a", ("x", 0), ("x", 1))], [make_list("a", ("x", 3), ("x", 2))])
    assert equal.lists[0].others == [1, 0]


@pytest.mark.parametrize(
    "other",
    [
        make_list("b", ("x", 0), ("y", 1)),
        make_list("a", ("x", 0), ("w", 1)),
        make_list("a", ("x", 0), ("y", None), ("w", 1)),
    ],
    ids=["another id", "one common response", "one common rank"],
)
def test_files_with_nothing_in_common_are_refused(other: Ranking) -> None:
    with pytest.raises(DataError, match=r"no list .* has two responses .* that all rank"):
        beside([make_list("a", ("x", 0), ("y", 1))], [other])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=4), min_size=1, max_size=6))
def test_any_ranks_can_be_audited(lists: list[list[int]]) -> None:
    rows = [
        make_list(str(number), *((f"r{place}", rank) for place, rank in enumerate(ranks)))
        for number, ranks in enumerate(lists)
    ]
    found = audit(rows, beside(rows, rows))
    (figures,) = found["agreement"]["comparisons"].values()
    assert figures["same_verdict"]["value"] == 1
    assert found["lists"]["ranked"] == len(lists)
    json.dumps(found, allow_nan=False)


def test_people_can_rank_in_a_table(tmp_path: Path) -> None:
    rows = [make_list("a", ("x", 0), ("y", 1)), make_list("b", ("x", 0), ("y", 1))]
    path = table(tmp_path / "people.csv", ("a", 0, 2), ("a", 1, 1), ("b", 0, ""), ("b", 1, 1))
    raters = read_raters([path], rows)
    assert raters == {"people": {"a": {0: 2, 1: 1}, "b": {1: 1}}}
    assert len(match(rows, raters, "").lists) == 1
    path.write_text("id,rank\na,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column position"):
        read_raters([path], rows)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (("c", 0, 1), "id 'c'"),
        (("a", 7, 1), "position 7 in a list of 2"),
        (("a", "first", 1), "position 'first'"),
        (("a", 0, "best"), "rank 'best'"),
        (("a", 0, "nan"), "rank 'nan'"),
        (("a", 0, 3), "a second time"),
    ],
    ids=str,
)
def test_a_wrong_line_of_a_table_is_named(tmp_path: Path, line: tuple[object, object, object], found: str) -> None:
    path = table(tmp_path / "people.csv", ("a", 0, 1), ("a", 1, 2), line)
    with pytest.raises(DataError, match=rf"people\.csv:4: found .*{found}"):
        read_raters([path], [make_list("a", ("x", 0), ("y", 1))])


def test_several_raters_come_in_one_table_or_in_a_file_each(tmp_path: Path) -> None:
    rows = [make_list("a", ("x", 0), ("y", 1), model="m")]
    rows[0].responses[1].model = "n"
    study = tmp_path / "ratings.csv"
    study.write_text(
        "question,position,system,place,rater,seconds\na,1,m,2.0,ann,3\na,0,n,1.0,ann,3\na,0,m,1,bob,9\na,1,n,1,bob,9\n"
    )
    write_rows(tmp_path / "third.jsonl", [make_list("a", ("y", 1), ("x", 0))])
    raters = read_raters([study, tmp_path / "third.jsonl"], rows)
    assert raters == {"ann": {"a": {0: 2, 1: 1}}, "bob": {"a": {0: 1, 1: 1}}, "third": {"a": {0: 0, 1: 1}}}
    (matched,) = match(rows, raters, "").lists
    assert matched.others == pytest.approx([(2 + 1.5 + 1) / 3, (1 + 1.5 + 2) / 3])
    with pytest.raises(DataError, match="a second rater 'ann'"):
        read_raters([study, study], rows)
    other = tmp_path / "other" / "third.jsonl"
    write_rows(other, [make_list("a", ("y", 0), ("x", 0))])
    assert list(read_raters([tmp_path / "third.jsonl", other], rows)) == ["third", str(other)]


def test_failed_lists_are_counted_and_a_file_of_them_is_refused_with_the_commonest_reason(tmp_path: Path) -> None:
    rows = [make_list("a", ("x", 0), ("y", 1)), make_list("b", ("x", 0), ("y", 1))]
    rows[1].failure = "no JSON"
    write_rows(tmp_path / "lists.jsonl", rows)
    found = audit_files(tmp_path / "lists.jsonl")["lists"]
    assert (found["lists"], found["ranked"], found["failed"], found["responses"]) == (2, 1, 1, 2)
    write_rows(tmp_path / "lists.jsonl", rows[1:])
    with pytest.raises(DataError, match=r"no ranked list \(no JSON\)"):
        read_lists(tmp_path / "lists.jsonl")


def test_the_page_is_one_file_without_scripts_and_with_everything_escaped(tmp_path: Path) -> None:
    rows = [make_list(str(number), ("long" * 9, 0), ("b", 1), model=HOSTILE) for number in range(4)]
    for number, row in enumerate(rows):
        row.responses[1].model = "judgy"
        row.responses[0].rank = number % 3 % 2
        row.ranked_by = f"judge judgy{HOSTILE}"
    write_rows(tmp_path / "one.jsonl", rows)
    found = audit_files(tmp_path / "one.jsonl", [tmp_path / "one.jsonl"])
    written = write_audit(found, tmp_path / "out")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"audit.json", "length_characters.png", "models.png", "agreement.png"} <= {path.name for path in written}
    page = written[-1].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert not re.search(r'(?:src|href)="(?!#)|url\((?!#)', page)
    assert "default-src 'none'" in page
    for figure in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(figure)
    assert json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8")) == found
    assert (tmp_path / "out" / "models.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_fits_80_columns_whatever_the_names(tmp_path: Path) -> None:
    rows = [make_list(str(number), ("long", 0), ("b", 1), model="a-model/" * 20) for number in range(3)]
    for row in rows:
        row.responses[0].model = "[bold]markup[/]" + HOSTILE
    screen = io.StringIO()
    Console(width=80, file=screen, color_system=None).print(audit_table(audit(rows, beside(rows, rows))))
    text = screen.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "[bold]markup[/]" in text
    assert "\x1b" not in text
    assert "1000 resamples" in text
