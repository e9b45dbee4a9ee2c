"""A stage that ranks says when its ranks go with length, whoever ranked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.calls.context import StageContext
from tunalm.ranking import run
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response
from tunalm.store import write_rows


@pytest.mark.parametrize(("penalty", "tau", "said"), [(0.0, -1.0, "shorter"), (2.0, 1.0, "longer"), (1.0, None, None)])
def test_the_terminal_and_the_figures_name_ranks_that_go_with_length(
    penalty: float, tau: float | None, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    responses = [Response(text="word " * size, logprob=-float(size), num_tokens=size) for size in (1, 2, 3)]
    rows = [Ranking(id=str(number), instruction="Say.", responses=responses) for number in range(3)]
    write_rows(tmp_path / "responses.jsonl", rows)
    settings = Rank(by="likelihood", responses=str(tmp_path / "responses.jsonl"), length_penalty=penalty)
    found = run(settings, StageContext(tmp_path, tmp_path / "ledger.sqlite"))
    assert found.details["length_tau"] == tau
    warned = capsys.readouterr().err
    assert ("its ranks go with length: Kendall's tau of rank and length is 1.00" in warned) == (said is not None)
    assert (said or "") in warned
