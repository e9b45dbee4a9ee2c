"""What a plan says beside what a server then counts, and a limit on costs that holds."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from typer.testing import CliRunner

from tunalm.calls.prices import load_prices
from tunalm.cli.app import app, main
from tunalm.errors import EXIT_USAGE, BudgetError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.planning.figures import Asking
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.ranking.judge.prompts import AUDITED, CRITERIA
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe

ROWS = 40
PROMPT_PRICE, COMPLETION_PRICE = 2.0, 10.0
"""Dollars per million tokens."""
OVERHEAD = 7
"""Tokens that the server's template adds."""
TEXT = (
    "the of and a to in is you that it he was for on are as with his they at be this have from one had by word but "
    "all were we when your can said there use each which she do how their if will up other about out many then them "
    "people understand important different government information development education environment"
)


@cache
def tokenizer() -> Tokenizer:
    """A small vocabulary of the texts that are sent here."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator([TEXT, AUDITED], trainer)
    return trained


def tokens(text: str) -> int:
    return len(tokenizer().encode(text))


def words(dice: Random, count: int) -> str:
    known = TEXT.split()
    return " ".join(dice.choice(known) for _ in range(count)).capitalize() + "."


class Server(ThreadingHTTPServer):
    """Answers chats with about as many words as the reference of the instruction has, and keeps the books."""

    daemon_threads = True

    def __init__(self, references: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.references = references
        self.lock = threading.Lock()
        self.calls: list[tuple[str, int, int]] = []
        """Kind of question, tokens of the prompt, tokens of all its responses."""
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def cost(self) -> float:
        """Dollars for all calls."""
        return sum(PROMPT_PRICE * prompt + COMPLETION_PRICE * completion for _, prompt, completion in self.calls) / 1e6

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        dice = Random(f"{body['seed']}/{prompt}")
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        asks_what_it_can = body["max_tokens"] < 10
        if asks_what_it_can:
            texts = ["{"]
        elif schema:
            texts = [judgement(schema["properties"]["scores"]["required"], dice)]
        else:
            length = len(self.references[prompt].split())
            texts = [words(dice, max(1, round(length * dice.uniform(0.6, 1.4)))) for _ in range(body.get("n", 1))]
        usage = {
            "prompt_tokens": sum(tokens(message["content"]) for message in body["messages"]) + OVERHEAD,
            "completion_tokens": sum(tokens(text) + 1 for text in texts),
        }
        kind = "judge" if schema else "greedy" if body["temperature"] == 0 else "sample"
        with self.lock:
            self.calls.append((kind, usage["prompt_tokens"], usage["completion_tokens"]))
            if not asks_what_it_can:
                self.seen.append(f"{prompt}/{body['seed']}/{body['temperature']}")
        return reply(body, texts, usage)


def reply(body: dict[str, Any], texts: list[str], usage: dict[str, int]) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    return {"model": body["model"], "choices": choices, "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(self.server.answer(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def judgement(labels: list[str], dice: Random) -> str:
    marks = {label: {name: dice.randrange(6) for name in CRITERIA} for label in labels}
    best_first = sorted(labels, key=lambda label: -sum(marks[label].values()))
    scores = {label: {"evidence": words(dice, dice.randrange(15, 26)), **marks[label]} for label in labels}
    return json.dumps({"kind": "open-ended", "reference": words(dice, 30), "scores": scores, "ranking": best_first})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    dice = Random(0)
    rows = [
        {
            "id": str(number),
            "instruction": words(dice, dice.randrange(10, 60)),
            "output": words(dice, dice.randrange(10, 60)),
        }
        for number in range(ROWS)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    with Server({row["instruction"]: row["output"] for row in rows}) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def tree(server: Server, data: Path, tmp_path: Path) -> dict[str, Any]:
    """A recipe whose every model is the server, at a price."""
    prices = tmp_path / "prices.yaml"
    row = f'host: loopback, model: "*", prompt: {PROMPT_PRICE}, completion: {COMPLETION_PRICE}'
    prices.write_text(f"- {{{row}}}\n", encoding="utf-8")
    engine = {"base_url": server.url, "model": "fake", "concurrency": 4}
    return {
        "name": "paid",
        "prices": str(prices),
        "stages": {
            "own": {"kind": "sample", "engine": engine, "data": str(data), "max_rouge_l": 0.8, "max_new_tokens": 300},
            "judged": {"kind": "rank", "by": "judge", "responses": "own", "engine": engine},
            "scores": {
                "kind": "evaluate",
                "models": {"fake": engine},
                "benchmarks": [{"name": "reference", "data": str(data)}],
                "max_new_tokens": 300,
            },
        },
    }


def planned(recipe: Recipe, folder: Path) -> dict[str, Asking]:
    run = RunFolder(folder)
    found = estimate(recipe, resolve(recipe, run), run, load_prices(recipe.prices))
    return {stage.stage: stage.asked[0] for stage in found.stages if stage.asked}


def test_a_plan_is_within_fifteen_percent_of_what_the_server_counts(
    tree: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    recipe = build_recipe(tree)
    expected = planned(recipe, tmp_path / "run")
    assert server.calls == []
    run_recipe(recipe, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    for stage, kind in {"own": "sample", "judged": "judge", "scores": "greedy"}.items():
        (record,) = manifest["stages"][stage]["details"]["calls"].values()
        calls = [call for call in server.calls if call[0] == kind]
        counted = (len(calls), sum(call[1] for call in calls), sum(call[2] for call in calls))
        assert (record["calls"], record["prompt_tokens"], record["completion_tokens"]) == counted
        assert record["cost"] == pytest.approx((counted[1] * PROMPT_PRICE + counted[2] * COMPLETION_PRICE) / 1e6)
        plan_of = expected[stage]
        assert plan_of.calls.expected == pytest.approx(counted[0], rel=0.15)
        assert plan_of.prompt_tokens.expected == pytest.approx(counted[1], rel=0.15)
        assert plan_of.completion_tokens.expected == pytest.approx(counted[2], rel=0.15)
        assert plan_of.cost is not None
        assert plan_of.cost.expected == pytest.approx(record["cost"], rel=0.15)
        assert record["cost"] <= plan_of.cost.most
    (total,) = manifest["calls"].values()
    assert total["cost"] == pytest.approx(server.cost())
    assert "Calls and costs" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_plan_in_the_middle_of_a_run_knows_what_is_done_and_how_the_server_counts(
    tree: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    first = build_recipe(tree | {"stages": {"own": tree["stages"]["own"]}}, limit=ROWS // 2)
    run_recipe(first, tmp_path / "run")
    before, seen = len(server.calls), len(server.seen)
    whole = build_recipe(tree | {"stages": {"own": tree["stages"]["own"]}})
    expected = planned(whole, tmp_path / "run")["own"]
    assert (expected.requested, expected.answered) == (4 * ROWS, 4 * ROWS // 2)
    states = run_recipe(whole, tmp_path / "run")
    (record,) = states["own"].details["calls"].values()
    assert record["from_ledger"] == before
    assert record["calls"] == len(server.calls) - before
    assert len(set(server.seen)) == len(server.seen) > seen
    assert expected.calls.expected == pytest.approx(record["calls"], rel=0.1)
    assert expected.prompt_tokens.expected == pytest.approx(record["prompt_tokens"], rel=0.15)
    assert expected.completion_tokens.expected == pytest.approx(record["completion_tokens"], rel=0.15)


def test_a_limit_on_costs_holds_and_more_money_goes_on_without_paying_twice(
    tree: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    whole = planned(build_recipe(tree), tmp_path / "run")["own"].cost
    assert whole is not None
    limit = 0.5 * whole.expected
    with pytest.raises(BudgetError, match=r"Raise max_cost; the same command then resumes"):
        run_recipe(build_recipe(tree | {"max_cost": limit}), tmp_path / "run")
    worst = (2 * 300 + 10 * 300) / 1e6
    assert limit - worst <= server.cost() <= limit
    run_recipe(build_recipe(tree | {"max_cost": 1.0}), tmp_path / "run")
    assert len(set(server.seen)) == len(server.seen)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    (total,) = manifest["calls"].values()
    assert total["cost"] == pytest.approx(server.cost())
    assert total["calls"] == len(server.calls)
    (own,) = manifest["stages"]["own"]["details"]["calls"].values()
    assert own["calls"] == sum(kind == "sample" for kind, *_ in server.calls)  # those before the stop, too
    assert own["from_ledger"] == 0


def test_a_limit_without_a_price_is_refused_before_the_first_call(
    tree: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "prices.yaml").write_text('- {host: "127.0.0.1", model: other, prompt: 1, completion: 1}\n')
    tree["stages"]["own"]["engine"]["base_url"] = "https://api.example.com/v1"
    with pytest.raises(BudgetError, match=r"no price for fake at api\.example\.com"):
        run_recipe(build_recipe(tree | {"max_cost": 1.0}), tmp_path / "run")
    assert server.calls == []


def test_the_command_prints_the_plan_and_sends_nothing(tree: dict[str, Any], server: Server, tmp_path: Path) -> None:
    recipe = tmp_path / "paid.yaml"
    recipe.write_text(json.dumps(tree), encoding="utf-8")
    options = [str(recipe), "--max-cost", "0.01", "--run-dir", str(tmp_path / "run")]
    outputs = [CliRunner().invoke(app, [*words, *options]).stdout for words in (["plan"], ["run", "--dry-run"])]
    assert outputs[0] == outputs[1]
    for part in ("own", "judged", "scores", "together", "an assumption", "max_cost: $0.010"):
        assert part in outputs[0]
    assert server.calls == []
    assert not (tmp_path / "run").exists()


def test_the_command_says_in_one_line_what_is_missing(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "paid.yaml"
    recipe.write_text(json.dumps(tree), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["tunalm", "run", str(recipe), "--prices", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == EXIT_USAGE
    line = capsys.readouterr().err
    assert line.startswith(f"tunalm: {tmp_path}/none.yaml: ")
    assert line.count("\n") == 1
