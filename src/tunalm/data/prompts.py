"""Where text becomes token ids: prompts by a chat template, responses apart from them.

A prompt and a response are tokenised apart and joined as ids, so that the border between what a model reads and what
it learns never falls inside a token. Text of the user's cannot forge special tokens: `<|im_end|>` in an instruction or
a response is encoded as the characters that it is made of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from types import MappingProxyType
from typing import Any

import jinja2

from tunalm.errors import ModelError
from tunalm.recipe import PromptTemplate
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

RAW_CHAT_TEMPLATE = r"""
{%- for message in messages -%}
  {{- message['content'] -}}
  {%- if message['role'] == 'assistant' -%}{{- eos_token | default('') -}}{%- endif -%}
  {{- '' if loop.last else '\n\n' -}}
{%- endfor -%}
""".strip()
"""Nothing around an instruction, which the response follows directly; an empty line between turns. Saved with a model
that is trained with it, as the Alpaca template is."""

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
_BOS = "{{- bos_token -}}\n"
_PROBE = "a reply to look for"
_TODAY = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
_AROUND_THOUGHTS = re.compile(
    r"</?(think|thinking|thoughts?|reasoning|seed:think)>|\[/?THINK\]|◁/?think▷|<\|(begin|end)_of_thought\|>"
)
_CHANNELS = frozenset({"<|channel>", "<channel|>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>"})
"""What is around the thoughts of models that write in channels."""
_THINKING = re.compile(r"<(think|thinking|thought|reasoning)>\s*$")
"""A prompt that ends so leaves the model inside its thoughts."""
_TEMPLATE_FAULTS = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template raises when it refuses a conversation, or is broken."""


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
        tokenizer: The model's tokenizer, of transformers 5.23 or later (for `sanitize_control_tokens`).
        template: `chat` is the tokenizer's own chat template, `alpaca` is `ALPACA_CHAT_TEMPLATE`, `raw` is
            `RAW_CHAT_TEMPLATE`; None is `chat`.
        where: Names the model in errors.
        arguments: What the chat template is given beside the conversation, such as `enable_thinking`.

    Attributes:
        tokenizer: As given.
        template_text: The Jinja template, to be saved in the tokenizer of a model that is trained with it. The
            arguments are in it, as defaults.
        sha256: Hash of the template, in hex.
        end_id: The token that ends a response: what the template writes after an assistant's turn, else EOS.
        stop_ids: All tokens at which sampling stops: `end_id`, then EOS if it is another.
        lead: What the template writes between a prompt and the reply, such as a space or empty thoughts. Generation
            has to write it, so a response is trained with it.
        lead_ids: Token ids of a lead that is more than a space; a space is part of the response's first token.
        opens_thoughts: Whether a prompt ends inside the model's thoughts.

    Raises:
        ModelError: there is no chat template, it cannot be rendered or does not read an argument, or no token ends a
            response.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: PromptTemplate | None,
        where: str,
        arguments: Mapping[str, Any] = NO_ARGUMENTS,
    ) -> None:
        self.where = where
        self.tokenizer = tokenizer
        ours = {"alpaca": ALPACA_CHAT_TEMPLATE, "raw": RAW_CHAT_TEMPLATE}.get(template or "chat")
        self.template_text = self._own_template(arguments) if ours is None else self._with_bos(ours)
        self.sha256 = hashlib.sha256(self.template_text.encode()).hexdigest()
        opening, before, after = self._around_a_reply()
        self.stop_ids = self._find_stop_ids(after)
        self.end_id = self.stop_ids[0]
        self._unseen = _control_tokens(tokenizer)
        self._inside_a_stop = _second_characters(tokenizer.convert_ids_to_tokens(list(self.stop_ids)))
        self.opens_thoughts = _THINKING.search(opening) is not None
        self.lead = self._find_lead(opening, before)
        self.lead_ids = self._control_ids(self.lead if self.lead.strip() else "")

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
        return list(self.tokenizer.encode(text, split_special_tokens=True))

    def response_ids(self, text: str, reasoning: str | None = None) -> list[int]:
        """Token ids of a response after its `lead`, with the token that ends it and that stands nowhere else in it.

        Given thoughts stand before the text, between their tags, in place of the lead.
        """
        before = list(self.lead_ids)
        if reasoning:
            opening, closing = ("", self.lead) if self.opens_thoughts else ("<think>\n", "\n</think>\n\n")
            before = [*self._control_ids(opening), *self.plain_ids(reasoning), *self._control_ids(closing)]
        elif not self.lead_ids:
            text = self.lead + text
        ids = self.plain_ids(text)
        if not set(self.stop_ids).isdisjoint(ids):
            # This tokenizer counts its end token among the ordinary ones, so it must not meet it in one piece.
            ids = [token for piece in self._inside_a_stop.split(text) for token in self.plain_ids(piece)]
        return [*before, *ids, self.end_id]

    def text(self, ids: Sequence[int]) -> str:
        """What was written as these ids. Control tokens are left out, but for those around thoughts."""
        kept = [token for token in ids if token not in self._unseen]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False))

    def _control_ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of a text in the middle of another, in which nothing is a control token."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _own_template(self, arguments: Mapping[str, Any]) -> str:
        """The model's template with the arguments as defaults, so that whoever loads it renders the same prompts."""
        try:
            template = _with_day(self.tokenizer.get_chat_template())
        except ValueError as error:
            raise no_chat_template(self.where) from error
        require_arguments(template, arguments, self.where)
        pins = [
            f"{{% if {name} is not defined %}}{{% set {name} = {value!r} %}}{{% endif %}}"
            for name, value in arguments.items()
        ]
        return "".join([*pins, "{{ '' }}"]) + template if pins else template  # a line after a block would be eaten

    def _with_bos(self, template: str) -> str:
        """A template of ours, with BOS in front if the tokenizer begins a text with it."""
        bos = getattr(self.tokenizer, "bos_token_id", None)
        return (_BOS if bos is not None and self.tokenizer.encode("a")[0] == bos else "") + template

    def _around_a_reply(self) -> tuple[str, str, str]:
        """A prompt; then what the template writes before, and after, a reply to it."""
        asked = [Message(role="user", content="a question")]
        opening = self._apply(asked, tokenize=False, add_generation_prompt=True)
        whole = self._apply([*asked, Message(role="assistant", content=_PROBE)], tokenize=False)
        before, found, after = whole.rpartition(_PROBE)
        return (opening, before, after) if found else (opening, opening, "")

    def _find_lead(self, opening: str, before: str) -> str:
        if self.opens_thoughts:
            tag = _THINKING.search(opening)
            assert tag is not None
            return f"\n</{tag[1]}>\n\n"
        lead = before.removeprefix(opening) if before.startswith(opening) else ""
        if not lead.isspace():
            return lead
        # Some tokenizers put a space before every text, and have it from there.
        prompt, reply = (self.tokenizer.encode(text, add_special_tokens=False) for text in (opening, before + _PROBE))
        return lead if [*prompt, *self.plain_ids(_PROBE)] != reply else ""

    def _find_stop_ids(self, after: str) -> tuple[int, ...]:
        """Tokens that end a reply, from what the template writes after one."""
        added = self.tokenizer.added_tokens_decoder
        ids = self.tokenizer.encode(after, add_special_tokens=False)
        ends = [token for token in ids if token in added and str(added[token]).strip()][:1]
        eos = getattr(self.tokenizer, "eos_token_id", None)
        stops = tuple(dict.fromkeys([*ends, *([] if eos is None else [eos])]))
        if not stops:
            raise ModelError(
                self.where,
                found="a tokenizer without an EOS token, and a template that ends no turn",
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
                fix="Change the conversation (many models take no system message), or set template: alpaca.",
            ) from error


def no_chat_template(where: str) -> ModelError:
    """The error about a model that must be told how it is asked."""
    return ModelError(
        where, found="a model without a chat template", fix="Set template: alpaca, or template: raw for a base model."
    )


def pin_day(day: date | None) -> None:
    """Let chat templates that write today's date write this one from now on, so that a run has one prompt.

    None undoes it.
    """
    _pinned[:] = [] if day is None else [day]


_pinned: list[date] = []


def _with_day(template: str) -> str:
    return _TODAY.sub(lambda call: repr(_pinned[0].strftime(call[2])), template) if _pinned else template


def require_arguments(template: str, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that a chat template does not read, which would do nothing.

    Raises:
        ModelError: one is not named in the template.
    """
    for name in arguments:
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise ModelError(
                where, found=f"a chat template that does not read '{name}'", fix="Remove or rename the argument."
            )


def _control_tokens(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that are no part of a text, other than those around thoughts."""
    added = {token: str(text) for token, text in tokenizer.added_tokens_decoder.items()}
    special = {token for token, text in tokenizer.added_tokens_decoder.items() if getattr(text, "special", True)}
    kept = _CHANNELS if any("channel" in text for text in added.values()) else frozenset()
    return frozenset(
        token for token in special if added[token] not in kept and not _AROUND_THOUGHTS.fullmatch(added[token])
    )


def _second_characters(tokens: list[str]) -> re.Pattern[str]:
    """Matches (nothing, at) the second character of each of these tokens in a text."""
    return re.compile("|".join(f"(?<={re.escape(token[:1])})(?={re.escape(token[1:])})" for token in tokens))
