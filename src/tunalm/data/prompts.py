"""Where text becomes token ids: prompts by a chat template, responses apart from them.

A prompt and a response are tokenised apart and joined as ids, so that the border between what a model reads and what
it learns never falls inside a token. Text of the user's cannot forge special tokens: `<|im_end|>` in an instruction or
a response is encoded as the characters that it is made of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Protocol

import jinja2

from tunalm.errors import ModelError
from tunalm.records import Message

ALPACA_CHAT_TEMPLATE = r"""
{%- set state = namespace(begun=false) -%}
{%- for message in messages -%}
  {%- if message['role'] == 'assistant' -%}
    {{- '### Response:' + message['content'] + (eos_token | default('')) + ('' if loop.last else '\n\n') -}}
  {%- elif message['role'] == 'system' -%}
    {{- message['content'] + '\n\n' -}}
  {%- else -%}
    {%- if not state.begun and message['input'] -%}
      {{- 'Below is an instruction that describes a task, paired with an input that provides further context. ' -}}
      {{- 'Write a response that appropriately completes the request.\n\n' -}}
    {%- elif not state.begun -%}
      {{- 'Below is an instruction that describes a task. ' -}}
      {{- 'Write a response that appropriately completes the request.\n\n' -}}
    {%- endif -%}
    {%- set state.begun = true -%}
    {{- '### Instruction:\n' + (message['instruction'] | default(message['content'])) + '\n\n' -}}
    {%- if message['input'] -%}
      {{- '### Input:\n' + message['input'] + '\n\n' -}}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '### Response:' -}}
{%- endif -%}
""".strip()
"""The prompt of Stanford Alpaca as a chat template: byte for byte the published one for a single instruction.

A system message comes first; of several turns only the first has the preamble, and each response ends with the end
token. Messages may carry `instruction` and `input` beside `content`; without them the content is the instruction. It
is saved with the model, so that transformers and vLLM load an Alpaca model as a chat model.
"""

_BOS = "{{- bos_token -}}\n"
_PROBE = "a reply to look for"
_TEMPLATE_FAULTS = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template raises when it refuses a conversation, or is broken."""


class Tokenizer(Protocol):
    """What is needed of a tokenizer of transformers (5.23 or later, for `sanitize_control_tokens`)."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Control tokens and other added tokens by id."""

    def get_chat_template(self) -> str:
        """The model's own chat template; ValueError if it has none."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Render a conversation, and tokenise it unless `tokenize=False`."""

    def encode(self, text: str, **options: Any) -> list[int]:
        """Token ids of a text."""

    def decode(self, token_ids: Any, **options: Any) -> Any:
        """Text of token ids."""

    def convert_ids_to_tokens(self, ids: list[int]) -> Any:
        """Tokens as the vocabulary spells them."""


def alpaca_text(messages: Sequence[Message]) -> str:
    """The Alpaca prompt of a conversation as plain text, for a server that takes text."""
    turns = [{"role": turn.role, "content": turn.content, "input": turn.input} for turn in messages]
    return _alpaca().render(messages=turns, add_generation_prompt=True)


@cache
def _alpaca() -> jinja2.Template:
    return jinja2.Environment().from_string(ALPACA_CHAT_TEMPLATE)


class PromptEncoder:
    """Turns conversations and responses into token ids for one model.

    Args:
        tokenizer: The model's tokenizer.
        template: `chat` is the tokenizer's own chat template, `alpaca` is `ALPACA_CHAT_TEMPLATE`.
        where: Names the model in errors.

    Attributes:
        tokenizer: As given.
        template_text: The Jinja template, to be saved in the tokenizer of a model that is trained with it.
        sha256: Hash of the template, in hex.
        end_id: The token that ends a response: what the template writes after an assistant's turn, else EOS.
        stop_ids: All tokens at which sampling stops: `end_id`, then EOS if it is another.

    Raises:
        ModelError: there is no chat template, it cannot be rendered, or no token ends a response.
    """

    def __init__(self, tokenizer: Tokenizer, template: Literal["chat", "alpaca"], where: str) -> None:
        self.where = where
        self.tokenizer = tokenizer
        self.template_text = self._alpaca_template() if template == "alpaca" else self._own_template()
        self.sha256 = hashlib.sha256(self.template_text.encode()).hexdigest()
        self.stop_ids = self._find_stop_ids()
        self.end_id = self.stop_ids[0]
        self._inside_a_stop = _second_characters(tokenizer.convert_ids_to_tokens(list(self.stop_ids)))

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation up to where the response begins.

        The template alone decides on BOS and other control tokens, as it does in transformers and vLLM; nothing is
        added or left out here.

        Raises:
            ModelError: the template refuses the conversation, for instance its system message.
        """
        return list(self._apply(messages, add_generation_prompt=True, sanitize_control_tokens=True)["input_ids"])

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a text that is a whole prompt, with what the tokenizer puts around any text, such as BOS."""
        return self.tokenizer.encode(text, split_special_tokens=True)

    def response_ids(self, text: str) -> list[int]:
        """Token ids of a response, with the token that ends it and that stands nowhere else in it."""
        ids = self._plain_ids(text)
        if not set(self.stop_ids).isdisjoint(ids):
            # This tokenizer counts its end token among the ordinary ones, so it must not meet it in one piece.
            ids = [token for piece in self._inside_a_stop.split(text) for token in self._plain_ids(piece)]
        return [*ids, self.end_id]

    def _plain_ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _own_template(self) -> str:
        try:
            return self.tokenizer.get_chat_template()
        except ValueError as error:
            raise ModelError(
                self.where,
                found="a tokenizer without a chat template",
                expected="one, for template=chat",
                fix="Set template=alpaca, or use a model that has a chat template.",
            ) from error

    def _alpaca_template(self) -> str:
        """The Alpaca template, with BOS in front if the tokenizer begins a text with it."""
        bos = getattr(self.tokenizer, "bos_token_id", None)
        return (_BOS if bos is not None and self.tokenizer.encode("a")[0] == bos else "") + ALPACA_CHAT_TEMPLATE

    def _find_stop_ids(self) -> tuple[int, ...]:
        turns = [Message(role="user", content="a question"), Message(role="assistant", content=_PROBE)]
        _, found, after = self._apply(turns, tokenize=False).rpartition(_PROBE)
        added = self.tokenizer.added_tokens_decoder
        ids = self.tokenizer.encode(after, add_special_tokens=False) if found else []
        ends = [token for token in ids if token in added and str(added[token]).strip()][:1]
        eos = getattr(self.tokenizer, "eos_token_id", None)
        stops = tuple(dict.fromkeys([*ends, *([] if eos is None else [eos])]))
        if not stops:
            raise ModelError(
                self.where,
                found="a tokenizer without an EOS token, and a template that ends no turn",
                expected="a token that ends a response",
                fix="Set eos_token in the model's tokenizer_config.json.",
            )
        return stops

    def _apply(self, messages: Sequence[Message], **options: Any) -> Any:
        turns = [
            {"role": turn.role, "content": turn.text, "instruction": turn.content, "input": turn.input}
            for turn in messages
        ]
        try:
            return self.tokenizer.apply_chat_template(turns, chat_template=self.template_text, **options)
        except _TEMPLATE_FAULTS as error:
            raise ModelError(
                self.where,
                found=f"a conversation ({', '.join(turn.role for turn in messages)}) that cannot be put into"
                f" the chat template ({error})",
                expected="one that the template takes",
                fix="Change the conversation (many models take no system message), or set template=alpaca.",
            ) from error


def _second_characters(tokens: list[str]) -> re.Pattern[str]:
    """Matches (nothing, at) the second character of each of these tokens in a text."""
    return re.compile("|".join(f"(?<={re.escape(token[:1])})(?={re.escape(token[1:])})" for token in tokens))
