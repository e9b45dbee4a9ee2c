"""Every stem is compared with that of NLTK, which the package rouge_score uses."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.measures.stemming import stem

ENDINGS = [
    "ational tional enci anci izer bli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti",
    "iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent",
    "ion ou ism ate iti ous ive ize ed ing eed ied ies sses ss s y ly e ee ll at bl iz tt yy",
]
WORDS = [
    "skies sky dying lying tying news innings inning outings outing cannings canning howe proceed exceed succeed",
    "caresses ponies ties cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned",
    "falling hissing fizzed failing filing happy enjoy spy relational conditional rational digitizer conformably",
    "radically differently vilely analogously vietnamization operator feudalism hopefulness sensibility geology",
    "theology apology triplicate formative formalize electrical goodness revival airliner adjustable replacement",
    "adoption homologous bowdlerize probate rate cease controlling roll yyyy syzygy toy 4ed 3rds aed bying prying",
    "dies died tied is as us",
]


@cache
def published() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@pytest.mark.parametrize("word", " ".join(WORDS).split())
def test_stems_of_words(word: str) -> None:
    assert stem(word) == published().stem(word)


LETTERS = st.text("abeiouylstdnrwxz2", max_size=5)


@given(LETTERS, st.lists(st.sampled_from(" ".join(ENDINGS).split()), max_size=3).map("".join))
@settings(max_examples=3000, deadline=None)
def test_stems_of_anything_with_any_endings(start: str, ending: str) -> None:
    assert stem(start + ending) == published().stem(start + ending)


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", max_size=12))
@settings(max_examples=1000, deadline=None)
def test_stems_of_any_letters(word: str) -> None:
    assert stem(word) == published().stem(word)
