"""Which new instructions are kept: the published rules, in the published order, each with a name to count it by."""

from __future__ import annotations

import string
from collections.abc import Sequence

import regex

from tunalm.instructing.records import Rejected
from tunalm.measures.nearest import Near, Pool
from tunalm.recipe import Instruct

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
"""Scripts in which a word has no border that could be seen."""


class Filter:
    """Takes instructions as they come and keeps those that are usable and new.

    Args:
        settings: of the stage.
        seeds: instructions that are there already.
    """

    def __init__(self, settings: Instruct, seeds: Sequence[str]) -> None:
        self._settings = settings
        self._blocked = [_pattern(word) for word in settings.blocked_words]
        self._pool = Pool(settings.max_rouge_l, settings.rouge_tokenizer)
        self._pool.add(seeds)
        self._texts = list(seeds)

    def take(self, texts: Sequence[str]) -> list[Rejected | None]:
        """Keep the texts that may be kept; for each, None if it is, else why not."""
        faults = [self._fault(text) for text in texts]
        near = iter(self._pool.take([text for text, fault in zip(texts, faults, strict=True) if fault is None]))
        found: list[Rejected | None] = []
        for text, fault in zip(texts, faults, strict=True):
            if fault is None:
                nearest = next(near)
                found.append(None if nearest is None else self._similar(text, nearest))
                self._texts += [text] if nearest is None else []
            else:
                found.append(Rejected(text=text, reason=fault))
        return found

    def _similar(self, text: str, near: Near) -> Rejected:
        other = self._texts[near.index]
        reason = "repeat" if other.casefold() == text.casefold() else "similar to another one"
        return Rejected(text=text, reason=reason, nearest=other, rouge_l=round(near.score, 4))

    def _fault(self, text: str) -> str | None:
        """Why a text is no instruction to keep, whatever the others are."""
        settings, published = self._settings, self._settings.rouge_tokenizer == "rouge"
        words = self._pool.words(text)
        length = len(text.split()) if published else words
        if not words:
            return "no words"
        if length < settings.min_words:
            return "too short"
        if length > settings.max_words:
            return "too long"
        if any(pattern.search(text) for pattern in self._blocked):
            return "a blocked word"
        if text.startswith(tuple(settings.blocked_starts)):
            return "a blocked start"
        if text[0] in string.punctuation:
            return "begins with punctuation"
        return "begins with a character that is not ASCII" if published and not text[0].isascii() else None


def _pattern(word: str) -> regex.Pattern[str]:
    """Finds a word, whole where its script has spaces between words."""
    left, right = ("" if _UNSPACED.match(word[at]) else r"\b" for at in (0, -1))
    return regex.compile(f"{left}{regex.escape(word)}{right}", regex.IGNORECASE)
