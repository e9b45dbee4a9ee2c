"""Roll-outs: the policy answers instructions, and every model says what it thinks of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Request
from tunalm.engines.huggingface import device
from tunalm.engines.huggingface.decoding import write_responses
from tunalm.engines.huggingface.reading import read_prompts
from tunalm.errors import TrainingError
from tunalm.recipe import Reinforce
from tunalm.records import Instruction
from tunalm.training.course import ROWS_AT_ONCE
from tunalm.training.fitting import in_bf16


@dataclass(frozen=True)
class Rollout:
    """Responses and all that PPO needs to learn from them; tensors are [B, T] on the CPU, see `objective`."""

    ids: list[str]
    """Of the instructions."""
    prompts: list[list[int]]
    responses: list[list[int]]
    """Tokens of the policy, the end token included where one was written."""
    scores: Tensor
    """[B], of the proxy, or the penalty of a response without an end."""
    ended: Tensor
    """[B], whether an end token was written."""
    logprobs: Tensor
    start_logprobs: Tensor
    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Models:
    """The four models of PPO and the encoder of their prompts."""

    policy: Any
    start: Any
    """What training started from, frozen."""
    value: Any
    """Says how much reward is still to come, at every token."""
    proxy: Any
    """A `ProxyScorer`: text in, so that its tokens may be others."""
    encoder: PromptEncoder


def roll_out(models: Models, rows: Sequence[Instruction], number: int, settings: Reinforce) -> Rollout:
    """Let the policy answer instructions.

    Every draw depends on the seed, the number of the roll-out and the place of the row alone, so that a run which is
    resumed writes what it would have written.

    Raises:
        TrainingError: the policy gives no finite probabilities any more.
    """
    prompts = [models.encoder.prompt_ids(row.messages()) for row in rows]
    responses: list[list[int]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = range(start, min(start + ROWS_AT_ONCE, len(rows)))
            unit = [
                Request(
                    key=str(place),
                    messages=rows[place].messages(),
                    temperature=settings.temperature,
                    max_new_tokens=settings.max_new_tokens,
                    seed=_seed(settings.seed, number, place),
                )
                for place in part
            ]
            read = read_prompts(models.policy, [prompts[place] for place in part], models.encoder.end_id)
            rooms = [settings.max_new_tokens] * len(unit)
            for row, written in zip(
                part, write_responses(models.policy, unit, read, models.encoder.stop_ids, rooms), strict=True
            ):
                if not written.finite:
                    raise TrainingError(
                        rows[row].id,
                        found="probabilities that are not finite while its response was written",
                        fix="Lower learning_rate.",
                    )
                responses.append(written.tokens)
    scores = models.proxy.score(
        [row.messages() for row in rows], [_text(models.encoder, response) for response in responses]
    )
    ended = torch.tensor([response[-1] in models.encoder.stop_ids for response in responses])
    if settings.ppo.missing_end_reward is not None:
        scores = torch.where(ended, scores, torch.tensor(settings.ppo.missing_end_reward))
    with torch.no_grad():
        read_all = [
            torch.cat([part for _, part in read_tokens(each, prompts, responses, settings, values=values)])
            for each, values in ((models.policy, False), (models.start, False), (models.value, True))
        ]
    mask = mask_of(responses)
    logprobs, start_logprobs, values = (part * mask for part in read_all)
    return Rollout([row.id for row in rows], prompts, responses, scores, ended, logprobs, start_logprobs, values, mask)


def mask_of(responses: Sequence[Sequence[int]]) -> Tensor:
    """[B, T], 1 at tokens of a response."""
    lengths = torch.tensor([len(response) for response in responses])
    return (torch.arange(int(lengths.max())) < lengths[:, None]).float()


def read_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    settings: Reinforce,
    *,
    values: bool,
) -> Iterator[tuple[range, Tensor]]:
    """Log-probabilities of response tokens, or the values of the states before them, a micro-batch at a time.

    Args:
        model: a causal language model; a sequence classification model with one label for `values`.
        prompts, responses: token ids.
        settings: of the stage.
        values: what is wanted.

    Yields:
        The places of some sequences and their [b, T] numbers in fp32, on the CPU where there are no gradients; T is
        the longest of all responses, and what stands behind a response's end means nothing.
    """
    longest, at_once = max(map(len, responses)), settings.ppo.sequences_at_once
    bf16 = in_bf16(settings.precision)
    for start in range(0, len(prompts), at_once):
        part = range(start, min(start + at_once, len(prompts)))
        sequences = [[*prompts[place], *responses[place]] for place in part]
        width = max(max(map(len, sequences)), max(len(prompts[place]) for place in part) + longest)
        ids = torch.tensor([[*sequence, *[0] * (width - len(sequence))] for sequence in sequences], device=device())
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=device())
        attention = (torch.arange(width, device=device()) < lengths[:, None]).long()
        # The state before token t of a response ends at place len(prompt) - 1 + t.
        places = torch.tensor([len(prompts[place]) - 1 for place in part], device=device())[:, None]
        places = places + torch.arange(longest, device=device())
        with torch.autocast(device().type, torch.bfloat16, enabled=bf16):
            if values:
                hidden = model.base_model(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
                chosen = hidden[torch.arange(len(part))[:, None], places]
                found = model.score(chosen.to(model.score.weight.dtype))[..., 0].float()
            else:
                logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
                chosen = logits[torch.arange(len(part))[:, None], places].float() / settings.temperature
                targets = ids.gather(1, (places + 1).clamp(max=width - 1))
                found = chosen.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        yield part, found if found.requires_grad else found.cpu()


def _seed(seed: int, number: int, place: int) -> int:
    return int.from_bytes(hashlib.sha256(f"ppo/{seed}/{number}/{place}".encode()).digest()[:7], "big")


def _text(encoder: PromptEncoder, tokens: Sequence[int]) -> str:
    ended = bool(tokens) and tokens[-1] in encoder.stop_ids
    return str(encoder.tokenizer.decode(list(tokens[:-1] if ended else tokens), skip_special_tokens=True))
