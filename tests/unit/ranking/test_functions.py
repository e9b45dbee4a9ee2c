"""Ranking by a checker: the instruction's, or one of the user's own, what it may return and when it is refused."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunalm.calls.context import Calls
from tunalm.errors import DataError, RecipeError
from tunalm.extensions import object_identity
from tunalm.ranking import verifier
from tunalm.ranking.time_limit import OutOfTimeError, within
from tunalm.ranking.verifier import FunctionRanker, VerifierRanker
from tunalm.recipe import Rank
from tunalm.records import Instruction, Ranking, Response

CHECKS = """
import dataclasses

@dataclasses.dataclass
class Note:
    text: str

def partly(instruction, text):
    assert Note(text).text == text
    return sum(word in text for word in instruction.wanted) / len(instruction.wanted)

def moody(instruction, text):
    if text == "raise":
        raise RuntimeError("no\\nmood")
    if text == "exit":
        raise SystemExit(3)
    if text == "object":
        return object()
    return {"none": None, "text": "1.0", "much": 7, "nan": float("nan"), "yes": True, "half": 0.5}.get(text, False)

def broken(instruction, text):
    return instruction.no_such_field

async def later(instruction, text):
    return 1

constant = 3
"""


@pytest.fixture
def checks(tmp_path: Path) -> Path:
    path = tmp_path / "checks.py"
    path.write_text(CHECKS, encoding="utf-8")
    return path


def row(*texts: str, name: str = "row", **changes: Any) -> Ranking:
    fields = {"id": name, "instruction": "Name two.", "responses": [Response(text=text) for text in texts], **changes}
    return Ranking.model_validate(fields)


def ranker(checks: Path, function: str) -> VerifierRanker:
    settings = Rank(by="verifier", responses="responses.jsonl", verifier=f"{checks}:{function}")
    return VerifierRanker(settings, Calls(Path()))


@pytest.mark.parametrize(
    ("texts", "scores", "ranks"),
    [
        (["bird", "a fish", "cat", "fish"], [0, 1, 0, 1], [1, 0, 1, 0]),
        (["bird", "cat"], [0, 0], [0, 0]),
        (["", "fish", "a"], [None, 1, 0], [None, 0, 1]),
    ],
    ids=["right stands above wrong", "none is right", "one failed"],
)
def test_the_checker_of_an_instruction_ranks(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], scores: list[float | None], ranks: list[int | None]
) -> None:
    monkeypatch.setattr(verifier, "check", lambda checker, text: float(checker["word"] in text))
    own = VerifierRanker(Rank(by="verifier", responses="responses.jsonl"), Calls(Path()))
    (found,) = own.rank([row(*texts, checker={"word": "fish"})])
    assert [(each.score, each.rank) for each in found.responses] == list(zip(scores, ranks, strict=True))
    assert found.ranked_by == "verifier"
    with pytest.raises(DataError, match=r"responses\.jsonl: row 'row': no checker"):
        own.rank([row(*texts)])


def test_partial_scores_order_and_equal_ones_tie(checks: Path) -> None:
    given = row("red", "red blue", "none", "blue", "", wanted=["red", "blue"])
    (ranked,) = ranker(checks, "partly").rank([given])
    assert [response.score for response in ranked.responses] == [0.5, 1.0, 0.0, 0.5, None]
    assert [response.rank for response in ranked.responses] == [1, 0, 2, 1, None]
    assert ranked.judgement is None


def test_what_the_function_does_wrong_leaves_one_response_unranked(checks: Path) -> None:
    texts = ("yes", "raise", "exit", "none", "object", "text", "much", "nan", "half", "no")
    own = ranker(checks, "moody")
    (ranked,) = own.rank([row(*texts)])
    found = dict(zip(texts, ranked.responses, strict=True))
    assert [found[text].rank for text in ("yes", "half", "no")] == [0, 1, 2]
    reasons = {texts[int(place)]: reason for place, reason in (ranked.judgement or {})["not_scored"].items()}
    assert reasons == {
        "raise": "the verifier failed: RuntimeError: no mood",
        "exit": "the verifier failed: SystemExit: 3",
        "none": "the verifier returned None and no number",
        "object": "the verifier returned object and no number",
        "text": "the verifier returned '1.0' and no number",
        "much": "the verifier returned 7, which is not between 0 and 1",
        "nan": "the verifier returned nan, which is not a finite number",
    }
    assert all(found[text].rank is None and found[text].failure is None for text in reasons)
    figures = own.figures()
    assert (figures["responses_checked"], figures["responses_not_checked"]) == (3, 7)


def test_a_list_that_loses_too_many_fails_with_the_reason(checks: Path) -> None:
    few, good = ranker(checks, "moody").rank([row("yes", "none", name="a"), row("yes", "no", name="b")])
    assert few.failure == "fewer than two responses have a score: the verifier returned None and no number"
    assert good.failure is None


def test_a_function_that_never_works_is_refused(checks: Path) -> None:
    with pytest.raises(DataError, match=r"AttributeError.* \(4 of 4 responses"):
        ranker(checks, "broken").rank([row("a", "b", name="a"), row("a", "b", name="b")])


def test_the_function_sees_no_other_response(checks: Path) -> None:
    seen: list[Instruction] = []

    def look(instruction: Instruction, text: str) -> bool:
        seen.append(instruction)
        return True

    own = ranker(checks, "partly")
    own.function = look
    own.rank([row("a", "b", reference="r", wanted=["x"])])
    assert {"responses", "ranked_by", "judgement"}.isdisjoint(seen[0].model_dump())
    assert (seen[0].reference, seen[0].instruction) == ("r", "Name two.")


@pytest.mark.parametrize(
    "value",
    [0, 1, True, False, 0.25, np.float32(0.5), np.float64(0.5), np.bool_(True)],
    ids=["0", "1", "true", "false", "quarter", "float32", "float64", "bool_"],
)
def test_numbers_of_any_library_from_0_to_1_are_scores(checks: Path, value: Any) -> None:
    own = ranker(checks, "partly")
    own.function = lambda instruction, text: value
    assert own.check(row("a")) == ([float(value)], {})


def test_a_missing_function_shows_before_the_file_is_run(tmp_path: Path) -> None:
    path = tmp_path / "checks.py"
    path.write_text("raise RuntimeError('run')\ndef f(i, t): return 1\n")
    assert object_identity(f"{path}:f", "verifier")
    with pytest.raises(RecipeError, match="no 'g' in it"):
        object_identity(f"{path}:g", "verifier")
    with pytest.raises(RecipeError, match=r"checks\.py: RuntimeError: run\."):
        ranker(path, "f")
    path.write_text("def f(:\n")
    with pytest.raises(RecipeError, match=r"checks\.py:1: .*Correct the line"):
        object_identity(f"{path}:f", "verifier")


def test_what_is_no_function_is_refused(checks: Path) -> None:
    with pytest.raises(RecipeError, match="is a int"):
        ranker(checks, "constant")
    with pytest.raises(RecipeError, match="async function"):
        ranker(checks, "later")


def test_a_function_that_only_ranks_may_use_any_scale() -> None:
    (found,) = FunctionRanker(lambda instruction, text: -len(text), "short").rank([row("aaa", "a", "aa")])
    assert [(response.score, response.rank) for response in found.responses] == [(-3, 2), (-1, 0), (-2, 1)]
    (found,) = FunctionRanker(lambda instruction, text: float(text), "as read").rank([row("1", "inf", "2")])
    assert [response.rank for response in found.responses] == [1, None, 0]


def spin() -> None:
    while True:
        with suppress(Exception):
            time.sleep(1)


def test_a_function_that_never_returns_leaves_its_response_unranked(checks: Path) -> None:
    own = ranker(checks, "partly")
    own._seconds = 0.05
    own.function = lambda instruction, text: spin() if text == "stuck" else len(text) / 9
    began = time.monotonic()
    (found,) = own.rank([row("ab", "stuck", "abc")])
    assert time.monotonic() - began < 5
    assert [response.rank for response in found.responses] == [1, None, 0]
    assert (found.judgement or {})["not_scored"] == {
        "1": "the verifier took more than 0.05 seconds (imports do not count)"
    }


def test_an_import_is_not_interrupted_and_its_time_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nvalue = 7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def imports() -> Any:
        return importlib.import_module("slow_to_import").value

    def imports_and_sticks() -> None:
        sys.modules.pop("slow_to_import")
        imports()
        spin()

    assert within(0.05, imports) == 7
    began = time.monotonic()
    with pytest.raises(OutOfTimeError):
        within(0.05, imports_and_sticks)
    assert 0.3 < time.monotonic() - began < 5
    assert sys.modules["slow_to_import"].value == 7


def test_a_time_limit_leaves_an_alarm_of_somebody_else_as_it_was() -> None:
    rung: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        assert within(20, lambda: 7) == 7
        assert 40 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        signal.raise_signal(signal.SIGALRM)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_in_another_thread_there_is_no_limit() -> None:
    found: list[int] = []

    def slow() -> int:
        time.sleep(0.03)
        return 7

    thread = threading.Thread(target=lambda: found.append(within(0.01, slow)))
    thread.start()
    thread.join()
    assert found == [7]
