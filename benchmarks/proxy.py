"""How well a proxy ranking model learns real judgements, beside what the length of the responses alone would reach.

`python -m benchmarks.proxy DATA [--train 300] [--test 100] [--work FOLDER] [--json PATH]`. DATA is a folder with what
others have published of GPT-4's and of people's judgements; a part of it that is missing is left out:

    alpaca_eval/outputs.jsonl.gz, preferences.jsonl.gz      AlpacaEval 2 (CC BY-NC 4.0): lists of `RESPONSES` systems
    rank_data/gpt4_reviews_both_orders_*.jsonl.gz           Cherry LLM: pairs that GPT-4 has marked in both orders
    rank_data/autoj_pairwise_human_1392.jsonl.gz            Auto-J: pairs judged by people
    vicuna/answers.jsonl.gz, gpt4_reviews.jsonl.gz          Vicuna QA (Apache-2.0): pairs that GPT-4 has marked
    llmbar/llmbar.jsonl.gz                                  LLMBar (MIT): pairs, the longer or nicer one often the worse

The first three are learned, with some instructions of each held out. Vicuna's questions and LLMBar are never learned.
A run that is interrupted goes on where it was if it is given the same `--work` folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine, show, write_json
from tunalm import training
from tunalm.calls.context import Calls, StageContext
from tunalm.data.lists.shapes import dense_ranks
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import load_tokenizer
from tunalm.ranking.proxy import ProxyRanker
from tunalm.recipe import Lists, Proxy, Rank
from tunalm.records import Ranking, Response
from tunalm.store import write_rows
from tunalm.training.encoding import encode_row
from tunalm.training.proxy.heldout import ScoredList, agreement, conversation, length_preference

RESPONSES = 4
NEVER_LEARNED = ("vicuna", "llmbar")
JUDGE = "weighted_alpaca_eval_gpt4_turbo"
CHERRY = "rank_data/gpt4_reviews_both_orders_cherry_vs_alpaca.jsonl.gz"
QUESTIONS = ("prompt", "conversations", "instruction", "text", "Instruction")
"""What the parts of that file call the instruction; a conversation begins with it."""
AUTOJ = "rank_data/autoj_pairwise_human_1392.jsonl.gz"
MEASURES = {"kendall_tau": "tau", "top1": "top-1", "pair_accuracy": "pairs"}
COLUMNS = ("judgements", "lists", "measure", "proxy", "length", "chance", "proxy - length")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a proxy on stored judgements and report how far it agrees with those that it has not seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=main.__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--model", default="embedded:smollm2", help="to start from")
    parser.add_argument("--train", type=int, default=300, help="lists to learn from")
    parser.add_argument("--test", type=int, default=100, help="lists of each kind to judge by")
    parser.add_argument("--max-length", type=int, default=256, help="tokens; longer lists are left out")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where the model is kept; nowhere by default")
    parser.add_argument("--json", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    encoder = PromptEncoder(load_tokenizer(asked.model), "chat", asked.model)
    everything = {name: fitting(rows, encoder, asked.max_length) for name, rows in judgements(asked.data).items()}
    if not everything:
        print(f"skipped: no judgements in {asked.data}; see the top of {__file__}", file=sys.stderr)
        return 0
    learned, held_out = parts(everything, asked.train, asked.test)
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(learned, held_out, asked, asked.work or Path(temporary))
    title = f"A proxy from {asked.model}, trained on {len(learned)} lists; {machine()['device']}"
    cells = [cell for name, figures in rows.items() for cell in table(name, figures)]
    notes = (
        f"Lists of which every sequence has at most {asked.max_length} tokens; 95 % bootstrap intervals over lists.",
        f"length: {next(iter(rows.values()))['length_prefers']} is better, as on the lists that were learned.",
        f"{' and '.join(NEVER_LEARNED)} are other kinds of instructions than those that were learned.",
    )
    show(title, COLUMNS, cells, notes)
    if asked.json:
        write_json(asked.json, "proxy", "cpu", [{"judgements": name, **figures} for name, figures in rows.items()])
    return 0


def measure(
    learned: list[Ranking], held_out: dict[str, list[Ranking]], asked: argparse.Namespace, work: Path
) -> dict[str, dict[str, Any]]:
    """Train, rank what was held out, and compare; figures by judgements, and of all together."""
    work.mkdir(parents=True, exist_ok=True)
    ledger, stage = work / "ledger.sqlite", work / "prm"
    stage.mkdir(exist_ok=True)
    write_rows(work / "learned.jsonl", learned)
    settings = Proxy(
        start=asked.model,
        rankings=[Lists(source=str(work / "learned.jsonl"))],
        held_out=0,
        max_length=asked.max_length,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        epochs=asked.epochs,
    )
    training.run(settings, StageContext(stage, ledger))
    ranker = ProxyRanker(Rank(by="proxy", model=str(stage / "model"), responses=""), Calls(ledger))
    truth = {row.id: row for rows in held_out.values() for row in rows}
    scored = {row.id: row for row in ranker.rank(list(truth.values()))}
    lists = {name: [judged(truth[row.id], scored[row.id]) for row in rows] for name, rows in held_out.items()}
    lists["all"] = [each for rows in lists.values() for each in rows]
    preference = length_preference(learned)
    return {name: agreement(each, preference, seed=0) for name, each in lists.items()}


def judged(truth: Ranking, scored: Ranking) -> ScoredList:
    """A list as the judge and as the proxy see it."""
    return ScoredList(
        [response.rank or 0 for response in truth.responses],
        [response.score or 0.0 for response in scored.responses],
        [len(response.text) for response in truth.responses],
    )


def fitting(rows: Sequence[Ranking], encoder: PromptEncoder, max_length: int) -> list[Ranking]:
    """Lists in which something ranks above something else and nothing has to be cut."""
    found = []
    for row in rows:
        group = encode_row(row, encoder, max_length)
        usable = group is not None and len({target.rank for target in group.targets}) > 1
        if group is not None and usable and all(target.ended for target in group.targets):
            found.append(row)
    return found


def parts(
    everything: dict[str, list[Ranking]], train: int, test: int
) -> tuple[list[Ranking], dict[str, list[Ranking]]]:
    """At most so many lists to learn from, as many of each kind that is learned, and so many of each kind to judge by,
    but no more than half of a kind that is learned.

    No instruction stands on both sides.
    """
    draw = random.Random(0)
    held_out: dict[str, list[Ranking]] = {}
    for name, rows in everything.items():
        draw.shuffle(rows)
        held_out[name] = rows[: test if name in NEVER_LEARNED else min(test, len(rows) // 2)]
    known = {conversation(row) for name in everything for row in held_out[name]}
    known |= {conversation(row) for name in NEVER_LEARNED for row in everything.get(name, [])}
    left = {
        name: [row for row in rows if conversation(row) not in known]
        for name, rows in everything.items()
        if name not in NEVER_LEARNED
    }
    share = train // max(1, len(left))
    return [row for rows in left.values() for row in rows[:share]], held_out


def judgements(data: Path) -> dict[str, list[Ranking]]:
    """Ranked lists of every kind that is there."""
    readers = {"alpaca_eval": alpaca_eval, "cherry": cherry, "autoj": autoj, "vicuna": vicuna, "llmbar": llmbar}
    found = {}
    for name, reader in readers.items():
        try:
            found[name] = list(reader(data))
        except FileNotFoundError:
            continue
    return found


def alpaca_eval(data: Path) -> Iterator[Ranking]:
    """Some systems for each instruction, by how much GPT-4 prefers each to the same baseline (to two digits)."""
    preferences: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for row in lines(data / "alpaca_eval" / "preferences.jsonl.gz"):
        if row["annotator"] == JUDGE:
            preferences[row["index"]][row["generator_2"]] = round(row["preference"], 2)
    draw = random.Random(0)
    for row in lines(data / "alpaca_eval" / "outputs.jsonl.gz"):
        systems = draw.sample(sorted(preferences[row["index"]]), RESPONSES)
        texts = [row["outputs"][system] for system in systems]
        scores = [preferences[row["index"]][system] for system in systems]
        yield ranking(f"alpaca_eval-{row['index']}", row["instruction"], texts, scores)


def cherry(data: Path) -> Iterator[Ranking]:
    """Two answers by the sum of GPT-4's marks in both orders."""
    for number, row in enumerate(lines(data / CHERRY)):
        marks, reverse = (json.loads(str(row[name])) for name in ("scores", "scores_reverse"))
        scores = [marks[0] + reverse[1], marks[1] + reverse[0]]
        asked = next(row[name] for name in QUESTIONS if name in row)
        question = asked[0] if isinstance(asked, list) else asked
        yield ranking(f"cherry-{number}", question, [row["Answer1"], row["Answer2"]], scores)


def autoj(data: Path) -> Iterator[Ranking]:
    """Two answers judged by people."""
    for number, row in enumerate(lines(data / AUTOJ)):
        scores = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [0.0, 0.0]}[row["label"]]
        yield ranking(f"autoj-{number}", row["prompt"], [row["response 1"], row["response 2"]], scores)


def vicuna(data: Path) -> Iterator[Ranking]:
    """Two answers by GPT-4's marks; the name of the review's file says whose they are."""
    with open(data / "vicuna" / "question.jsonl", encoding="utf-8") as file:
        questions = {row["question_id"]: row["text"] for row in map(json.loads, file)}
    answers = {row["question_id"]: row["answers"] for row in lines(data / "vicuna" / "answers.jsonl.gz")}
    for number, row in enumerate(lines(data / "vicuna" / "gpt4_reviews.jsonl.gz")):
        known = answers[row["question_id"]]
        systems = Path(row["review_file"]).stem.removeprefix("review_").split("_", maxsplit=1)
        names = [min((name for name in known if name.startswith(system)), key=len) for system in systems]
        texts = [known[name] for name in names]
        yield ranking(f"vicuna-{number}", questions[row["question_id"]], texts, row["score"])


def llmbar(data: Path) -> Iterator[Ranking]:
    """Two outputs of which one follows the instruction, after the authors; their own and their adversarial pairs."""
    for number, row in enumerate(lines(data / "llmbar" / "llmbar.jsonl.gz")):
        if row["subset"].startswith(("natural", "adv")):
            scores = [float(row["label"] == 1), float(row["label"] == 2)]
            yield ranking(f"llmbar-{number}", row["input"], [row["output_1"], row["output_2"]], scores)


def ranking(name: str, instruction: str, texts: Sequence[str], scores: Sequence[float]) -> Ranking:
    """A list by the judge's scores, higher is better."""
    ranks = dense_ranks([-score for score in scores])
    responses = [Response(text=text, rank=rank) for text, rank in zip(texts, ranks, strict=True) if text.strip()]
    return Ranking(id=name, instruction=instruction, responses=responses)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a compressed JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def table(name: str, figures: dict[str, Any]) -> Iterator[list[str]]:
    """Lines of one kind of judgements."""
    for key, label in MEASURES.items():
        cells = [estimate(figures[key][of]) for of in ("proxy", "length", "chance", "gain")]
        yield [name, str(figures["lists"]), label, *cells]


def estimate(found: dict[str, Any]) -> str:
    """A value with its interval."""
    value, ends = found["value"], found["ci95"]
    text = "-" if value is None else f"{value:.3f}"
    return text if ends is None else f"{text} ({ends[0]:.3f} to {ends[1]:.3f})"


if __name__ == "__main__":
    sys.exit(main())
