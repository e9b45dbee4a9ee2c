"""Ranked lists in the formats of others.

    trl-pairs      TRL's preference format: {prompt, chosen, rejected}, each a list of turns
    trl-tpo        TRL's triple preference format: the same with {reference}
    llama-factory  LLaMA-Factory's ShareGPT pairs: {conversations, chosen, rejected}, turns are {from, value}
    axolotl        axolotl's `chat_template.default` pairs: {messages, chosen, rejected}
    nemo-rl        NeMo-RL's preference format: {context, completions: [{rank, completion}]}
    tunalm         `Ranking` itself

Pairs also carry the `id` of the list. A turn is {role, content}; the input of an instruction is part of its content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, Literal, NamedTuple

from tunalm.records import Message, Ranking

Target = Literal["trl-pairs", "trl-tpo", "llama-factory", "axolotl", "nemo-rl", "tunalm"]
Pairing = Literal["best-worst", "adjacent", "all"]


SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""What ShareGPT calls the roles."""


class Ranked(NamedTuple):
    """A response that has a rank."""

    rank: int
    text: str


Pair = tuple[Ranked, Ranked]
"""The better one first."""


class Exporter:
    """Turns lists into rows of one format and counts what it leaves out.

    Args:
        target: the format.
        pairing: which pairs a list gives. `best-worst` is one pair, the first of the best and the first of the worst;
            `adjacent` are all pairs whose ranks follow one another; `all` are all pairs. For `nemo-rl`, None writes
            whole lists, ties included, and a pairing rows of two completions, which is what its DPO takes; for `tunalm`
            it has no meaning.
    """

    def __init__(self, target: Target, pairing: Pairing | None = None) -> None:
        self._target = target
        self._pairing: Pairing = pairing or "best-worst"
        self._whole = target == "nemo-rl" and pairing is None
        self.counts: Counter[str] = Counter()
        """Of `lists` and `rows`, and of what was left out: `failed lists`, `lists without two ranked responses`,
        `lists without a reference`, `lists whose turns do not alternate`, `tied pairs`, `pairs of equal texts`."""

    def rows(self, rankings: Iterable[Ranking]) -> Iterator[dict[str, Any]]:
        """Yield the rows of all lists, in their order."""
        for ranking in rankings:
            self.counts["lists"] += 1
            for row in self._rows_of(ranking):
                self.counts["rows"] += 1
                yield row

    def said(self) -> str:
        """The counts, for people to read."""
        return ", ".join(f"{count} {what}" for what, count in self.counts.items())

    def _rows_of(self, ranking: Ranking) -> Iterator[dict[str, Any]]:
        if self._target == "tunalm":
            yield ranking.model_dump(mode="json", exclude_none=True)
            return
        ranked = sorted(
            (Ranked(each.rank, each.text) for each in ranking.responses if each.rank is not None and not each.failure),
            key=lambda each: each.rank,
        )
        if reason := self._why_not(ranking, ranked):
            self.counts[reason] += 1
            return
        prompt = [_turn(turn) for turn in ranking.messages()]
        if self._whole:
            yield _nemo_rl(prompt, ranked)
            return
        for better, worse in self._pairs(ranked):
            yield self._pair(ranking, prompt, better.text, worse.text)

    def _pair(self, ranking: Ranking, prompt: list[dict[str, str]], better: str, worse: str) -> dict[str, Any]:
        if self._target == "nemo-rl":
            return _nemo_rl(prompt, [Ranked(0, better), Ranked(1, worse)])
        if self._target == "llama-factory":
            turns = [{"from": SPEAKERS[turn["role"]], "value": turn["content"]} for turn in prompt]
            sides = ({"from": SPEAKERS["assistant"], "value": text} for text in (better, worse))
            return {"id": ranking.id, "conversations": turns, **dict(zip(("chosen", "rejected"), sides, strict=True))}
        if self._target == "axolotl":
            return {"id": ranking.id, "messages": prompt, "chosen": _reply(better)[0], "rejected": _reply(worse)[0]}
        row = {"id": ranking.id, "prompt": prompt, "chosen": _reply(better), "rejected": _reply(worse)}
        return row if self._target == "trl-pairs" else row | {"reference": _reply(ranking.reference or "")}

    def _why_not(self, ranking: Ranking, ranked: list[Ranked]) -> str | None:
        if ranking.failure is not None:
            return "failed lists"
        if len(ranked) < 2:
            return "lists without two ranked responses"
        if self._target == "trl-tpo" and not ranking.reference:
            return "lists without a reference"
        if self._target == "llama-factory" and not _alternate(ranking.messages()):
            return "lists whose turns do not alternate"
        return None

    def _pairs(self, ranked: list[Ranked]) -> Iterator[Pair]:
        """The pairs of a list, which is in the order of its ranks."""
        for better, worse in self._candidates(ranked):
            if better.rank == worse.rank:
                self.counts["tied pairs"] += 1
            elif better.text == worse.text:
                self.counts["pairs of equal texts"] += 1
            else:
                yield better, worse

    def _candidates(self, ranked: list[Ranked]) -> Iterator[Pair]:
        if self._pairing == "best-worst":
            worst = next(each for each in ranked if each.rank == ranked[-1].rank)
            yield ranked[0], worst
            return
        levels = {rank: level for level, rank in enumerate(dict.fromkeys(each.rank for each in ranked))}
        for better, worse in combinations(ranked, 2):
            if self._pairing == "all" or levels[worse.rank] - levels[better.rank] < 2:
                yield better, worse


def _alternate(turns: list[Message]) -> bool:
    """Whether user and assistant speak in turn, after a system message or none: LLaMA-Factory skips other rows."""
    spoken = [turn.role for turn in turns[turns[0].role == "system" :]]
    return all(role == ("user", "assistant")[place % 2] for place, role in enumerate(spoken))


def _nemo_rl(prompt: list[dict[str, str]], ranked: list[Ranked]) -> dict[str, Any]:
    completions = [{"rank": each.rank, "completion": _reply(each.text)} for each in ranked]
    return {"context": prompt, "completions": completions}


def _turn(turn: Message) -> dict[str, str]:
    return {"role": turn.role, "content": turn.text}


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
