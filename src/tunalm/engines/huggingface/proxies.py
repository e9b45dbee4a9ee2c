"""Scores of texts by a proxy: a sequence classification model with one label, read at the last token of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tunalm.data.prompts import NO_ARGUMENTS, PromptEncoder
from tunalm.engines.huggingface.grouping import runs
from tunalm.engines.huggingface.weights import device, fast_bf16, load_scorer, load_tokenizer
from tunalm.errors import ModelError
from tunalm.recipe import PromptTemplate
from tunalm.records import Message

TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 32768}
"""Of a forward pass, padding included, by device."""


class ProxyScorer:
    """A proxy that scores responses to conversations.

    Args:
        source: folder or hub id of the proxy.
        template: how it is asked, as `PromptEncoder`.
        template_args: what the chat template is given beside the conversation.
        trust_remote_code: let it run code of its own.

    Raises:
        ModelError: it cannot be loaded, or was not trained to score.
    """

    def __init__(
        self,
        source: str,
        template: PromptTemplate | None = None,
        template_args: Mapping[str, Any] = NO_ARGUMENTS,
        *,
        trust_remote_code: bool = False,
    ) -> None:
        tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
        self._model = load_scorer(source, trained=True, trust_remote_code=trust_remote_code).to(device()).eval()
        self._encoder = PromptEncoder(tokenizer, template, source, template_args)
        positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self.max_length: int = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
        """Tokens of prompt and response that are read."""

    def score(self, conversations: Sequence[Sequence[Message]], texts: Sequence[str]) -> torch.Tensor:
        """Scores [R] in fp32 of texts as responses, one to each conversation; NaN where a prompt leaves no room.

        Raises:
            ModelError: the score of a text that is read is not a finite number.
        """
        sequences = []
        for messages, text in zip(conversations, texts, strict=True):
            prompt = self._encoder.prompt_ids(messages)
            room = self.max_length - len(prompt)
            # As in training: cut with the end token in place, which is then not read.
            sequences.append([*prompt, *self._encoder.response_ids(text)[:room][:-1]] if room > 0 else [])
        scores = torch.full((len(sequences),), float("nan"))
        lengths, most = [len(sequence) for sequence in sequences], TOKENS_AT_ONCE[device().type]
        read = sorted((place for place, length in enumerate(lengths) if length), key=lengths.__getitem__)
        for places in runs(read, lengths.__getitem__, lambda found: len(found) * max(found) <= most):
            scores[places] = _last_token_scores(self._model, [sequences[place] for place in places])
            if not scores[places].isfinite().all():
                raise ModelError(self._encoder.where, found="a score that is not a number", fix="Train it again.")
        return scores


def _last_token_scores(model: Any, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    lengths = torch.tensor([len(tokens) for tokens in sequences])
    width = int(lengths.max())
    ids = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sequences])
    mask = (torch.arange(width) < lengths[:, None]).long()
    place = model.device
    with torch.no_grad():
        with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda" and fast_bf16()):
            hidden = model.base_model(ids.to(place), attention_mask=mask.to(place), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(sequences)), (lengths - 1).to(place)]
        scores: torch.Tensor = model.score(last.float())[:, 0]
    return scores.cpu()
