"""The stage `sample`: ask a model for N responses to every instruction.

Draws are made in waves over the whole data: first every slot of every list once, then all slots that the diversity rule
(see `diverse`) wants drawn again, until it wants none. Each draw has a seed of its own, made from the stage's seed, the
instruction's id, the slot and the attempt, so what is drawn does not depend on batches, on the order of the rows or on
how often the stage was interrupted. Answers are in the ledger as soon as they are there; a stage that runs again finds
them and asks for the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.context import StageContext
from tunalm.data import load, with_demonstrations
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import EngineError
from tunalm.measures.rouge import rouge_l, tokenize
from tunalm.progress import console, progress
from tunalm.recipe import Sample
from tunalm.records import Instruction, Message, Ranking, Response
from tunalm.sampling.diverse import Rule, Similarity, closest, next_step
from tunalm.store import Summary, digest, write_rows

Draw = tuple[Request, Completion]
Slots = list[list[Draw]]
"""Of one instruction: per slot the draws made so far."""


def run(settings: Sample, context: StageContext) -> Summary:
    """Run the stage; writes `responses.jsonl`, one `Ranking` without ranks per instruction.

    Raises:
        DataError: the instructions cannot be read.
        EngineError: the engine cannot do what the settings ask, or no request can be answered.
        ModelError: the model cannot be loaded.
        StoreError: the ledger or the folder cannot be written.
    """
    rows = load(settings.data)
    engine = open_engine(settings.engine, trust_remote_code=context.trust_remote_code)
    if settings.logprobs and not engine.capabilities.logprobs:
        raise EngineError(
            engine.identity,
            found="an engine that gives no log-probabilities",
            expected="them, because of logprobs: true",
            fix="Sample from a model in this process, or set logprobs: false and rank with by: judge.",
        )
    sampled = sample(rows, engine, settings, context.ledger, context.budget)
    write_rows(context.folder / "responses.jsonl", sampled)
    summary = _summary(sampled, settings)
    if unseen := summary.details.get("without_words"):
        console().print(
            f"      {unseen} responses have no word of a-z and passed as diverse: set rouge_tokenizer: unicode",
            markup=False,
            soft_wrap=True,
        )
    return summary


def sample(
    rows: Sequence[Instruction], engine: Engine, settings: Sample, ledger: Path, budget: Budget | None = None
) -> list[Ranking]:
    """Draw `num_responses` responses per instruction, by the diversity rule where `max_rouge_l` is set."""
    similarity = partial(rouge_l, tokenizer=settings.rouge_tokenizer)
    rule = Rule(settings.max_rouge_l, settings.max_attempts, similarity)
    prompts = _prompts(rows, settings)
    drawn: list[Slots] = [[[] for _ in range(settings.num_responses)] for _ in rows]
    kept: list[list[int | None]] = [[] for _ in rows]
    wanted = [(row, slot) for row in range(len(rows)) for slot in range(settings.num_responses)]
    wave = 0
    while wanted:
        wave += 1
        requests = [
            _request(rows[row].id, slot, len(drawn[row][slot]) + 1, prompts[row], settings) for row, slot in wanted
        ]
        description = "sampling" if wave == 1 else f"sampling again ({wave - 1})"
        answers = complete(engine, requests, ledger, description, budget=budget)
        for (row, slot), request in zip(wanted, requests, strict=True):
            drawn[row][slot].append((request, answers[request.key]))
        changed = sorted({row for row, _ in wanted})
        wanted = []
        with progress("comparing responses", len(changed)) as advance:
            for row in changed:
                step = next_step([[_text(draw) for draw in slot] for slot in drawn[row]], rule)
                kept[row] = step.kept
                wanted += [(row, slot) for slot in step.redraw]
                advance(1)
    rankings = []
    with progress("measuring similarity", len(rows)) as advance:
        for parts in zip(rows, drawn, kept, strict=True):
            rankings.append(_ranking(*parts, similarity))
            advance(1)
    return rankings


def first_requests(rows: Sequence[Instruction], settings: Sample) -> list[Request]:
    """What is asked of every list before anything has to be drawn again, slot by slot."""
    prompts = _prompts(rows, settings)
    return [
        _request(row.id, slot, 1, prompt, settings)
        for row, prompt in zip(rows, prompts, strict=True)
        for slot in range(settings.num_responses)
    ]


def _prompts(rows: Sequence[Instruction], settings: Sample) -> list[list[Message]]:
    """Conversations to go on from.

    Worked examples are drawn from all rows of the slice, those beyond `limit` too: few rows are then examples
    themselves, so most of a task share their examples and are decoded together.
    """
    if not settings.demonstrations:
        return [row.messages() for row in rows]
    # Which examples are drawn must not depend on the order of the rows.
    pool = sorted(load(settings.data.model_copy(update={"limit": None})), key=lambda row: row.id)
    return [with_demonstrations(row, pool, settings.demonstrations, settings.seed) for row in rows]


def _request(row_id: str, slot: int, attempt: int, messages: list[Message], settings: Sample) -> Request:
    return Request(
        key=f"{row_id}/{slot}/{attempt}",
        messages=messages,
        temperature=round(settings.temperature + (attempt - 1) * settings.temperature_step, 6),
        max_new_tokens=settings.max_new_tokens,
        seed=draw_seed(settings.seed, row_id, slot, attempt),
        logprobs=settings.logprobs,
    )


def draw_seed(stage_seed: int, row_id: str, slot: int, attempt: int) -> int:
    """Seed of one draw, 63 bits of a SHA-256."""
    return int(digest([stage_seed, row_id, slot, attempt])[:16], 16) >> 1


def _failure(completion: Completion) -> str | None:
    """Why a completion is not a usable response, if it is not."""
    if completion.failure is not None:
        return completion.failure
    return None if _finite(completion) else "log-probabilities that are not finite"


def _finite(completion: Completion) -> bool:
    return all(map(math.isfinite, completion.token_logprobs or []))


def _text(draw: Draw) -> str | None:
    """What a draw is compared by; None if it failed or is blank."""
    _, completion = draw
    return completion.text if completion.text.strip() and _failure(completion) is None else None


def _ranking(row: Instruction, slots: Slots, kept: Sequence[int | None], similarity: Similarity) -> Ranking:
    draws = [slot[choice or 0] for slot, choice in zip(slots, kept, strict=True)]
    nearest = closest([_text(draw) for draw in draws], similarity)
    responses = [
        _response(draw, attempts=len(slot), max_rouge_l=score)
        for draw, slot, score in zip(draws, slots, nearest, strict=True)
    ]
    return row.with_responses(responses)


def _response(draw: Draw, *, attempts: int, max_rouge_l: float | None) -> Response:
    request, completion = draw
    finite = _finite(completion)
    return Response(
        text=completion.text,
        model=completion.model,
        logprob=completion.logprob if finite else None,
        num_tokens=completion.num_tokens,
        token_logprobs=completion.token_logprobs if finite else None,
        finish_reason=completion.finish_reason,
        temperature=request.temperature,
        seed=request.seed,
        attempts=attempts,
        max_rouge_l=max_rouge_l,
        failure=_failure(completion),
    )


def _summary(rankings: Sequence[Ranking], settings: Sample) -> Summary:
    responses = [response for ranking in rankings for response in ranking.responses]
    good = [response for response in responses if response.failure is None]
    attempts = Counter(response.attempts or 0 for response in responses)
    details: dict[str, Any] = {
        "attempts": {str(number): attempts[number] for number in sorted(attempts)},
        "mean_tokens": _mean([response.num_tokens for response in good]),
        "blank": sum(not response.text.strip() for response in good),
        "cut_share": _mean([response.finish_reason == "length" for response in good]),
        "mean_max_rouge_l": _mean([response.max_rouge_l for response in good]),
    }
    if settings.max_rouge_l is not None:
        similar = [(response.max_rouge_l or 0.0) >= settings.max_rouge_l for response in good]
        details["too_similar_share"] = _mean(similar)
        details["without_words"] = sum(not tokenize(response.text, settings.rouge_tokenizer) for response in good)
    return Summary.of([response.failure for response in responses], details)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are known, to four digits."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None
