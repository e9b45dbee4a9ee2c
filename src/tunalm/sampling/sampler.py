"""Asking a model for N responses to every instruction.

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
from typing import Any

from tunalm.calls.context import Calls, StageContext
from tunalm.data import load, with_demonstrations
from tunalm.engines.base import Completion, Request
from tunalm.measures.means import known_mean
from tunalm.measures.rouge import rouge_l, tokenize
from tunalm.progress import console, tracked
from tunalm.recipe import Sample
from tunalm.records import Instruction, Message, Ranking, Response
from tunalm.sampling.diverse import Rule, Similarity, closest, next_step
from tunalm.store import Summary, digest, write_rows

Draw = tuple[Request, Completion]
Slots = list[list[Draw]]
"""Of one instruction: per slot the draws made so far."""


def run(settings: Sample, context: StageContext) -> Summary:
    """The stage: read the instructions, `sample`, write `responses.jsonl`; raises as `load` and `sample` do."""
    sampled = sample(load(settings.data), settings, context.calls, pool=demonstration_pool(settings))
    write_rows(context.folder / "responses.jsonl", sampled)
    return summarise(sampled, settings)


def sample(
    rows: Sequence[Instruction], settings: Sample, calls: Calls, *, pool: Sequence[Instruction] | None = None
) -> list[Ranking]:
    """Draw `num_responses` responses per instruction, by the diversity rule where `max_rouge_l` is set.

    Args:
        rows: instructions; `settings.data` is not read.
        settings: of the stage.
        calls: reach the model.
        pool: rows that worked examples are drawn from; the instructions themselves if None.

    Returns:
        One list per instruction, in their order, that is not ranked. A draw that failed is a response with a reason.

    Raises:
        EngineError: the engine cannot do what the settings ask, or no request can be answered.
        ModelError: the model cannot be loaded.
        StoreError: the ledger cannot be written.
    """
    engine = calls.open(settings.engine)
    similarity = partial(rouge_l, tokenizer=settings.rouge_tokenizer)
    rule = Rule(settings.max_rouge_l, settings.max_attempts, similarity)
    prompts = _prompts(rows, settings, pool)
    drawn: list[Slots] = [[[] for _ in range(settings.num_responses)] for _ in rows]
    kept: list[list[int | None]] = [[] for _ in rows]
    wanted = [(row, slot) for row in range(len(rows)) for slot in range(settings.num_responses)]
    wave = 0
    while wanted:
        wave += 1
        asked = [
            _request(rows[row].id, slot, len(drawn[row][slot]) + 1, prompts[row], settings) for row, slot in wanted
        ]
        answers = calls.complete(engine, asked, "sampling" if wave == 1 else f"sampling again ({wave - 1})")
        for (row, slot), request in zip(wanted, asked, strict=True):
            drawn[row][slot].append((request, answers[request.key]))
        changed = sorted({row for row, _ in wanted})
        wanted = []
        for row in tracked(changed, "comparing responses"):
            settled = next_step([[_text(draw) for draw in slot] for slot in drawn[row]], rule)
            kept[row] = settled.kept
            wanted += [(row, slot) for slot in settled.redraw]
    rankings = []
    for parts in tracked([*zip(rows, drawn, kept, strict=True)], "measuring similarity"):
        rankings.append(_ranking(*parts, similarity))
    return rankings


def requests(settings: Sample, rows: Sequence[Instruction], pool: Sequence[Instruction] | None = None) -> list[Request]:
    """What is asked about every instruction before anything has to be drawn again, slot by slot."""
    return [
        _request(row.id, slot, 1, prompt, settings)
        for row, prompt in zip(rows, _prompts(rows, settings, pool), strict=True)
        for slot in range(settings.num_responses)
    ]


def demonstration_pool(settings: Sample) -> list[Instruction] | None:
    """All rows of the slice, those beyond `limit` too; None if no worked examples are wanted.

    Few rows are then examples themselves, so most of a task share their examples and are decoded together.
    """
    return load(settings.data.model_copy(update={"limit": None})) if settings.demonstrations else None


def _prompts(rows: Sequence[Instruction], settings: Sample, pool: Sequence[Instruction] | None) -> list[list[Message]]:
    """What the model continues: each conversation, behind its worked examples if there are any."""
    if not settings.demonstrations:
        return [row.messages() for row in rows]
    # Which examples are drawn must not depend on the order of the rows.
    ordered = sorted(rows if pool is None else pool, key=lambda row: row.id)
    return [with_demonstrations(row, ordered, settings.demonstrations, settings.seed) for row in rows]


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
        reasoning=completion.reasoning,
        finish_reason=completion.finish_reason,
        temperature=request.temperature,
        seed=request.seed,
        attempts=attempts,
        max_rouge_l=max_rouge_l,
        failure=_failure(completion),
    )


def summarise(rankings: Sequence[Ranking], settings: Sample) -> Summary:
    """Count what was drawn, and say what makes the diversity rule blind.

    Returns:
        details:
            attempts: how many responses took one draw, two, ...
            mean_tokens, blank, cut_share: of the responses that did not fail.
            with_reasoning: responses whose model thought first; their thoughts are kept beside the text.
            mean_max_rouge_l: largest similarity with another response of the list.
            too_similar_share, without_words: only with `max_rouge_l`.
    """
    responses = [response for ranking in rankings for response in ranking.responses]
    good = [response for response in responses if response.failure is None]
    attempts = Counter(response.attempts or 0 for response in responses)
    details: dict[str, Any] = {
        "attempts": {str(number): attempts[number] for number in sorted(attempts)},
        "mean_tokens": known_mean([response.num_tokens for response in good], 4),
        "blank": sum(not response.text.strip() for response in good),
        "cut_share": known_mean([response.finish_reason == "length" for response in good], 4),
        "mean_max_rouge_l": known_mean([response.max_rouge_l for response in good], 4),
    }
    if thoughtful := sum(response.reasoning is not None for response in responses):
        details["with_reasoning"] = thoughtful
    if settings.max_rouge_l is not None:
        similar = [(response.max_rouge_l or 0.0) >= settings.max_rouge_l for response in good]
        details["too_similar_share"] = known_mean(similar, 4)
        unseen = sum(not tokenize(response.text, settings.rouge_tokenizer) for response in good)
        details["without_words"] = unseen
        if unseen:
            console().print(
                f"      {unseen} responses have no word of a-z and passed as diverse: set rouge_tokenizer: unicode",
                markup=False,
                soft_wrap=True,
            )
    return Summary.of([response.failure for response in responses], details)
