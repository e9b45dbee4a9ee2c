"""The engine: units of requests through the decoding loop, given texts through one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import torch

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.huggingface.decoding import write_responses
from tunalm.engines.huggingface.grouping import by_beginning, runs
from tunalm.engines.huggingface.reading import read_prompts
from tunalm.engines.huggingface.scoring import Text, batches, token_logprobs
from tunalm.engines.huggingface.weights import device, fast_bf16, load_model, load_tokenizer
from tunalm.engines.tokens import NOT_FINITE, completion, given_ids, prompt_ids
from tunalm.errors import ModelError
from tunalm.recipe import HuggingFaceSettings
from tunalm.store import canonical

LONG = 512
"""Tokens of prompt and response: a batch of longer ones has no more tokens than one of `batch_size` of these."""
CHARACTERS_PER_TOKEN = 3
UNLIMITED = 1 << 30
SCORED_TOGETHER = 64
"""Given responses in a unit."""


class HuggingFaceEngine:
    """Samples from a Hugging Face model in this process; the model is loaded by the first request."""

    def __init__(self, settings: HuggingFaceSettings, *, trust_remote_code: bool = False) -> None:
        self._settings = settings
        self._trust = trust_remote_code
        self._model: Any = None
        self._encoder: PromptEncoder | None = None
        self._positions = UNLIMITED
        """Most tokens of a prompt and its response."""
        self.identity = settings.identity()
        self.capabilities = Capabilities(logprobs=True, seeded=True, scores=True, raw=True)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Units of at most `batch_size` requests that share earlier turns and are of about the same length.

        Those that begin alike, such as the questions of one task, stand together. Units of long requests are smaller,
        because what a batch takes grows with the product. Given responses to one prompt stand together.
        """
        given = sorted((request for request in requests if request.given), key=_by_prompt)
        scored = [given[start : start + SCORED_TOGETHER] for start in range(0, len(given), SCORED_TOGETHER)]
        return [*self._written([request for request in requests if not request.given]), *scored]

    def _written(self, requests: Sequence[Request]) -> list[list[Request]]:
        def shared(request: Request) -> tuple[int, str]:
            return request.max_new_tokens, canonical([message.model_dump() for message in request.messages[:-1]])

        def order(request: Request) -> tuple[tuple[int, str], int, str, str]:
            last = request.messages[-1].text
            return shared(request), len(last), last, request.key

        size = self._settings.batch_size
        units: list[list[Request]] = []
        for _, group in groupby(sorted(requests, key=order), key=shared):
            members = list(group)
            alike = by_beginning([request.messages[-1].text for request in members])
            places = chain.from_iterable(sorted(map(sorted, alike), key=max))
            units += runs(
                [members[place] for place in places],
                _tokens,
                lambda found: len(found) <= size and len(found) * max(found) <= size * LONG,
            )
        return units

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer unit after unit."""
        for unit in batches:
            yield self._score(unit) if unit[0].given else self._answer(unit)

    @torch.inference_mode()
    def _score(self, unit: Sequence[Request]) -> list[Completion]:
        """Log-probabilities of given responses.

        They are those that a response had when this model wrote it, if it was written in the tokens that it is encoded
        in.
        """
        model, encoder = self._load()
        asked, done = self._encoded(unit, encoder)
        texts = [text for _, text in asked]
        for places in batches(texts, self._settings.batch_size):
            found = token_logprobs(model, [texts[place] for place in places], encoder.end_id)
            for place, logprobs in zip(places, found, strict=True):
                request, text = asked[place]
                words, name = request.messages[-1].text, self._settings.model
                done[request.key] = completion(request, len(text.prompt), text.response, logprobs, encoder, name, words)
        return [done[request.key] for request in unit]

    @torch.inference_mode()
    def _answer(self, unit: Sequence[Request]) -> list[Completion]:
        model, encoder = self._load()
        asked, done = self._encoded(unit, encoder)
        if asked:
            requests, prompts = [request for request, _ in asked], [text.prompt for _, text in asked]
            read = read_prompts(model, prompts, encoder.end_id)
            rooms = [min(request.max_new_tokens, self._positions - len(text.prompt)) for request, text in asked]
            written = write_responses(model, requests, read, encoder.stop_ids, rooms)
            for request, prompt, response in zip(requests, prompts, written, strict=True):
                logprobs = response.logprobs if request.logprobs else None
                answer = completion(request, len(prompt), response.tokens, logprobs, encoder, self._settings.model)
                broken = {} if response.finite else {"text": "", "failure": NOT_FINITE}
                done[request.key] = answer.model_copy(update=broken)
        return [done[request.key] for request in unit]

    def _encoded(
        self, unit: Sequence[Request], encoder: PromptEncoder
    ) -> tuple[list[tuple[Request, Text]], dict[str, Completion]]:
        """Requests as token ids, without a response where it is to be written; and by key, those that fail at once."""
        asked: list[tuple[Request, Text]] = []
        failed: dict[str, Completion] = {}
        for request in unit:
            try:
                response = given_ids(request, encoder) if request.given else []
                text = Text(tuple(prompt_ids(request, encoder)), tuple(response))
            except ModelError as error:
                failure = f"template: {error.found}"
            else:
                tokens = len(text.prompt) + max(1, len(response))
                if tokens <= self._positions:
                    asked.append((request, text))
                    continue
                failure = f"too long: {tokens} tokens, where the model takes {self._positions}"
            failed[request.key] = Completion(key=request.key, model=self._settings.model, failure=failure)
        return asked, failed

    def _load(self) -> tuple[Any, PromptEncoder]:
        if self._model is None or self._encoder is None:
            source, precision = self._settings.model, self._settings.precision
            if precision == "auto":
                precision = "bf16" if fast_bf16() else "fp32"
            tokenizer = load_tokenizer(source, trust_remote_code=self._trust)
            self._encoder = PromptEncoder(tokenizer, self._settings.template, source, self._settings.template_args)
            model = load_model(source, precision=precision, trust_remote_code=self._trust)
            self._model = model.to(device()).eval()
            self._positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or UNLIMITED
        return self._model, self._encoder


def _by_prompt(request: Request) -> tuple[str, str]:
    return canonical([message.model_dump() for message in request.prompt]), request.key


def _tokens(request: Request) -> float:
    """About how many a prompt and its response have."""
    return sum(len(message.text) for message in request.messages) / CHARACTERS_PER_TOKEN + request.max_new_tokens
