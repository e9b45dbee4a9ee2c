"""ROUGE-L F1: how much of two texts is the same words in the same order.

The `rouge` tokenizer is the published one (lower case, a-z and 0-9 only, Porter stems) and gives the same floats as the
package `rouge_score` with its stemmer. It sees nothing in most scripts of the world; for those there is `unicode`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any, Literal

import regex
from rapidfuzz.distance import LCSseq

Tokenizer = Literal["rouge", "unicode"]

LONGEST_UNSTEMMED = 3
"""Words of up to so many characters are taken as they are."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_BOUNDARY = regex.compile(r"\b", flags=regex.V1 | regex.WORD)
_WORD_OR_SYMBOL = regex.compile(r"[^\p{P}\p{Z}\p{C}]")
_VISIBLE = regex.compile(r"[^\p{Z}\p{Cc}\p{Cf}]")


def rouge_l(a: str, b: str, *, tokenizer: Tokenizer = "rouge") -> float:
    """Return the F1 (0-1) of the longest common subsequence of the two texts' tokens; it is symmetric.

    A text without tokens scores 0 with every text, itself included. With `unicode` every text that has something to
    be seen in it scores exactly 1 with itself.
    """
    first, second = tokenize(a, tokenizer), tokenize(b, tokenizer)
    if not first or not second:
        return 0.0
    common = LCSseq.similarity(first, second)
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall) if common else 0.0


@lru_cache(maxsize=4096)
def tokenize(text: str, tokenizer: Tokenizer = "rouge") -> tuple[str, ...]:
    """Split a text into the tokens that are compared."""
    return _stems(text) if tokenizer == "rouge" else _unicode_words(text)


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem for word in _ASCII_WORD.findall(text.lower()) if (stem := _stem(word)))


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word)) if len(word) > LONGEST_UNSTEMMED else word


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer  # takes seconds to import

    return PorterStemmer()


def _unicode_words(text: str) -> tuple[str, ...]:
    """Split at the default word boundaries of Unicode (UAX #29) after NFKC and case folding.

    Scripts without spaces (Han, Hiragana, Thai, Lao, Khmer, Myanmar ...) fall into single characters with their marks,
    emoji and other symbols are tokens too. Punctuation counts only in a text that has nothing else.
    """
    pieces = _BOUNDARY.split(unicodedata.normalize("NFKC", text).casefold())
    words = tuple(piece for piece in pieces if _WORD_OR_SYMBOL.search(piece))
    return words or tuple(piece for piece in pieces if _VISIBLE.search(piece))
