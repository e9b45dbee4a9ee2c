"""ROUGE-L F1: how much of two texts is the same words in the same order.

The `rouge` tokenizer is the published one (lower case, a-z and 0-9 only, Porter stems as nltk makes them) and gives the
same floats as the package `rouge_score` with its stemmer. It sees nothing in most scripts of the world; for those there
is `unicode`.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Literal

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


def best_rouge_l(text: Sequence[bytes], references: Iterable[Sequence[bytes]]) -> float:
    """Return the largest `rouge_l` of a text with one of some references, all as their `words`.

    Nothing but words is remembered: right for many texts that are compared once.
    """
    if len(_LETTER_OF) > MOST_WORDS:
        forget()
    letters = _LETTER_OF.spell_words(text)
    return max([_f1(letters, _LETTER_OF.spell_words(reference)) for reference in references])


def words(text: str) -> list[bytes]:
    """Lower-case runs of a-z and 0-9, not stemmed."""
    if not text.isascii():
        text = text.lower()  # some letters of other scripts have lower cases in a-z
    return text.encode("ascii", "replace").translate(_SEPARATED).split()


def _f1(first: Sequence[str], second: Sequence[str]) -> float:
    common = LCSseq.similarity(first, second) if first and second else 0
    if not common:
        return 0.0
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=4096)
def tokenize(text: str, tokenizer: Tokenizer = "rouge") -> str | tuple[str, ...]:
    """Split a text into the tokens that are compared; for `rouge` a letter stands for each, until `forget`."""
    return _LETTER_OF.spell(text) if tokenizer == "rouge" else _unicode_words(text)


def forget() -> None:
    """Forget all texts and words seen so far, as in a fresh process."""
    tokenize.cache_clear()
    _LETTER_OF.clear()


STEPS = {
    "_step1a": ("s",),
    "_step1b": ("ed", "ing"),
    "_step1c": ("y",),
    "_step2": ("nci", "li", "iti", "logi", "ional", "izer", "ation", "ator", "alism", "ness"),
    "_step3": ("icate", "ative", "alize", "iciti", "ical", "ful", "ness"),
    "_step4": (
        *("al", "nce", "er", "ic", "able", "ible", "ant", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive"),
        "ize",
    ),
    "_step5a": ("e",),
    "_step5b": ("ll",),
}
"""What a word ends in where a step of the stemmer may change it; no other step has to be asked."""
SUFFIXES = tuple({suffix for suffixes in STEPS.values() for suffix in suffixes})


@cache
def _stemmer() -> tuple[dict[str, str], list[tuple[Callable[[str], str], tuple[str, ...]]]]:
    """NLTK's Porter stemmer in its default mode, as in `rouge_score`; importing nltk takes most of a second.

    Returns:
        Words with a stem of their own, and the steps for all others.
    """
    from nltk.stem.porter import PorterStemmer

    stemmer = PorterStemmer()
    return stemmer.pool, [(getattr(stemmer, name), suffixes) for name, suffixes in STEPS.items()]


def stem(word: str) -> str:
    """The Porter stem of a word of at least three lower-case letters or digits."""
    own, steps = _stemmer()
    if word in own:
        return own[word]
    for step, suffixes in steps:
        if word.endswith(suffixes):
            word = step(word)
    return word


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
        return self.spell_words(words(text))

    def spell_words(self, found: Iterable[bytes]) -> str:
        """The same for the `words` of a text."""
        return "".join(map(self.__getitem__, found))

    def __missing__(self, word: bytes) -> str:
        known = word.decode()
        stemmed = stem(known) if len(known) > LONGEST_UNSTEMMED and known.endswith(SUFFIXES) else known
        self[word] = letter = self._letter(stemmed)
        return letter

    def _letter(self, stem: str) -> str:
        return self._of_stem.setdefault(stem, chr(len(self._of_stem)))

    def clear(self) -> None:
        """Forget all words."""
        super().clear()
        self._of_stem.clear()


_LETTER_OF = Letters()


def _unicode_words(text: str) -> tuple[str, ...]:
    """Split at the default word boundaries of Unicode (UAX #29) after NFKC and case folding.

    Scripts without spaces (Han, Hiragana, Thai, Lao, Khmer, Myanmar ...) fall into single characters with their marks,
    emoji and other symbols are tokens too. Punctuation counts only in a text that has nothing else.
    """
    pieces = _BOUNDARY.split(unicodedata.normalize("NFKC", text).casefold())
    found = tuple(piece for piece in pieces if _WORD_OR_SYMBOL.search(piece))
    return found or tuple(piece for piece in pieces if _VISIBLE.search(piece))
