"""ROUGE-L F1: how much of two texts is the same words in the same order.

The `rouge` tokenizer is the published one (lower case, a-z and 0-9 only, Porter stems as nltk makes them) and gives the
same floats as the package `rouge_score` with its stemmer. It sees nothing in most scripts of the world; for those there
is `unicode`.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

import regex
from rapidfuzz.distance import LCSseq

Tokenizer = Literal["rouge", "unicode"]

LONGEST_UNSTEMMED = 3
"""Words of up to so many characters are taken as they are."""
MOST_WORDS = 1 << 18
"""Words that are remembered from one comparison to the next."""

_KEPT = string.ascii_letters + string.digits
_SEPARATED = bytes(ord(chr(code).lower()) if chr(code) in _KEPT else ord(" ") for code in range(256))
"""Turns letters into lower case, and every byte that is no letter or digit into a blank."""
_BOUNDARY = regex.compile(r"\b", flags=regex.V1 | regex.WORD)
_WORD_OR_SYMBOL = regex.compile(r"[^\p{P}\p{Z}\p{C}]")
_VISIBLE = regex.compile(r"[^\p{Z}\p{Cc}\p{Cf}]")


def rouge_l(a: str, b: str, *, tokenizer: Tokenizer = "rouge") -> float:
    """Return the F1 (0-1) of the longest common subsequence of the two texts' tokens; it is symmetric.

    A text without tokens scores 0 with every text, itself included. With `unicode` every text that has something to
    be seen in it scores exactly 1 with itself.
    """
    if len(_LETTER_OF) > MOST_WORDS:
        forget()
    return _f1(tokenize(a, tokenizer), tokenize(b, tokenizer))


def best_rouge_l(text: str, references: Iterable[str]) -> float:
    """Return the largest `rouge_l` of a text with one of some references, in the published tokens.

    Nothing but words is remembered: right for many texts that are compared once.
    """
    if len(_LETTER_OF) > MOST_WORDS:
        forget()
    letters = _letters(text)
    return max([_f1(letters, _letters(reference)) for reference in references])


def _f1(first: Sequence[str], second: Sequence[str]) -> float:
    common = LCSseq.similarity(first, second) if first and second else 0
    if not common:
        return 0.0
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=4096)
def tokenize(text: str, tokenizer: Tokenizer = "rouge") -> str | tuple[str, ...]:
    """Split a text into the tokens that are compared; for `rouge` a letter stands for each, until `forget`."""
    return _letters(text) if tokenizer == "rouge" else _unicode_words(text)


def forget() -> None:
    """Forget all texts and words seen so far, as in a fresh process."""
    tokenize.cache_clear()
    _LETTER_OF.clear()


@cache
def _stemmer() -> Any:
    """NLTK's Porter stemmer in its default mode, as in `rouge_score`; importing nltk takes most of a second."""
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


class Letters(dict[bytes, str]):
    """A letter by word, one for each stem; texts of letters are compared faster than lists of words.

    Looking a word up costs a fraction of any call, and few words of a text are new.
    """

    def __init__(self) -> None:
        self._of_stem: dict[str, str] = {}

    def spell(self, text: str, tokenizer: Tokenizer = "rouge") -> str:
        """A text with a letter in the place of each of its tokens."""
        if tokenizer == "unicode":
            return "".join(map(self._letter, _unicode_words(text)))
        if not text.isascii():
            text = text.lower()  # some letters of other scripts have lower cases in a-z
        words = text.encode("ascii", "replace").translate(_SEPARATED).split()
        return "".join(map(self.__getitem__, words))

    def __missing__(self, word: bytes) -> str:
        known = word.decode()
        stemmed = known if len(known) <= LONGEST_UNSTEMMED else _stemmer().stem(known)
        self[word] = letter = self._letter(stemmed)
        return letter

    def _letter(self, stem: str) -> str:
        return self._of_stem.setdefault(stem, chr(len(self._of_stem)))

    def clear(self) -> None:
        """Forget all words."""
        super().clear()
        self._of_stem.clear()


_LETTER_OF = Letters()
_letters = _LETTER_OF.spell


def _unicode_words(text: str) -> tuple[str, ...]:
    """Split at the default word boundaries of Unicode (UAX #29) after NFKC and case folding.

    Scripts without spaces (Han, Hiragana, Thai, Lao, Khmer, Myanmar ...) fall into single characters with their marks,
    emoji and other symbols are tokens too. Punctuation counts only in a text that has nothing else.
    """
    pieces = _BOUNDARY.split(unicodedata.normalize("NFKC", text).casefold())
    words = tuple(piece for piece in pieces if _WORD_OR_SYMBOL.search(piece))
    return words or tuple(piece for piece in pieces if _VISIBLE.search(piece))
