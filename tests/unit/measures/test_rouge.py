# ruff: noqa: RUF001 - the letters of many scripts look alike
"""ROUGE-L against the published implementation, and in scripts that one cannot read."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from tunalm.measures import rouge
from tunalm.measures.rouge import STEPS, best_rouge_l, rouge_l, stem, words

ALPACA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "alpaca" / "alpaca_18k.jsonl.gz"

ENGLISH = [
    "",
    "   ",
    "!!!",
    "a",
    "The quick brown foxes were jumping over the lazily sleeping dogs.",
    "A quick brown fox jumps over a lazy, sleepy dog",
    "running runs runner ran; national nationality nationalities",
    "relational conditional rationally dying lying skies happily",
    "In 2023, GDP rose by 3.5% (from $1,200 to $1,242), didn't it?",
    "e-mail: someone@example.org -- see https://example.org/path?x=1&y=2",
    "1. First\n2. Second\n\t3. Third",
    "naïve café – résumé: “quoted” text… Ångström İstanbul ﬁne",
    "the the the the the cat cat",
    "cat the cat the cat the",
    "under_score CamelCase x86_64 aaa aaaa aaaaa s ss sss ssss ing edly",
]

SCRIPTS = {
    "arabic": "اللغة العربية جميلة جداً",
    "armenian": "Հայերենը գեղեցիկ լեզու է",
    "bengali": "বাংলা ভাষা খুব সুন্দর",
    "chinese": "今天天气很好，我们去公园散步。",
    "cyrillic": "Съешь же ещё этих мягких булок",
    "devanagari": "हिन्दी एक सुन्दर भाषा है।",
    "ethiopic": "አማርኛ ውብ ቋንቋ ነው።",
    "georgian": "ქართული ლამაზი ენაა",
    "greek": "Η ελληνική γλώσσα είναι όμορφη",
    "hangul": "한국어는 아름다운 언어입니다",
    "hebrew": "השפה העברית יפה מאוד",
    "japanese": "日本語はとても美しい言語です。コンピューター",
    "khmer": "ភាសាខ្មែរគឺស្អាតណាស់",
    "lao": "ພາສາລາວງາມຫຼາຍ",
    "latin": "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "myanmar": "မြန်မာဘာသာစကားသည် လှပသည်",
    "persian": "می‌خواهم کتاب بخوانم",
    "sinhala": "සිංහල භාෂාව ලස්සනයි",
    "tamil": "தமிழ் மொழி அழகானது",
    "thai": "ภาษาไทยเป็นภาษาที่สวยงาม",
    "tibetan": "བོད་སྐད་ནི་སྙན་པོ་ཡིན།",
    "vietnamese": "Tiếng Việt là một ngôn ngữ đẹp",
    "emoji": "👩‍👩‍👧‍👦👍🏽🇩🇪❤️",
    "punctuation": "?!… ()",
    "mathematics": "∀x∈ℝ: x²≥0",
}


@cache
def published() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def oracle(a: str, b: str) -> float:
    return float(published().score(a, b)["rougeL"].fmeasure)


@pytest.mark.parametrize("text", ENGLISH)
def test_scores_are_the_published_ones_to_the_last_bit(text: str) -> None:
    assert [rouge_l(text, other) for other in ENGLISH] == [oracle(text, other) for other in ENGLISH]


ENGLISH_LIKE = st.lists(
    st.sampled_from(["the", "cats", "catting", "nationally", "DIED", "skies", "3.5", "don't", "--", "é", "ﬁ\n", "_"]),
    max_size=12,
).map(" ".join)


@given(a=st.text(max_size=40) | ENGLISH_LIKE, b=st.text(max_size=40) | ENGLISH_LIKE)
@settings(max_examples=300, deadline=None)
def test_scores_are_the_published_ones_on_any_text(a: str, b: str) -> None:
    assert rouge_l(a, b) == oracle(a, b)


@given(text=ENGLISH_LIKE, references=st.lists(st.text(max_size=40) | ENGLISH_LIKE, min_size=1, max_size=3))
@settings(deadline=None)
def test_the_best_of_several_references_counts(text: str, references: list[str]) -> None:
    assert best_rouge_l(words(text), map(words, references)) == max(
        rouge_l(text, reference) for reference in references
    )


def test_scores_are_the_published_ones_on_alpaca() -> None:
    if not ALPACA.exists():
        pytest.skip("needs ../shared/data/alpaca")
    with gzip.open(ALPACA, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["output"][:600] for line in islice(file, 1001)]
    pairs = list(pairwise(texts))
    assert [rouge_l(a, b) for a, b in pairs] == [oracle(a, b) for a, b in pairs]


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_a_text_is_like_itself_in_any_script_however_it_is_composed(text: str) -> None:
    assert rouge_l(text, text, tokenizer="unicode") == 1.0
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert rouge_l(composed, decomposed, tokenizer="unicode") == 1.0


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_of_different_scripts_are_not_alike(script: str) -> None:
    others = [text for name, text in SCRIPTS.items() if name not in {script, "punctuation"}]
    scores = [rouge_l(SCRIPTS[script], text, tokenizer="unicode") for text in others]
    assert max(scores) < 0.2


def visible(text: str) -> bool:
    return any(unicodedata.category(char) not in {"Zs", "Zl", "Zp", "Cc", "Cf"} for char in text)


@given(st.text(min_size=1, max_size=30))
@example("\u0301")
@example("\ue000 private use")
@example("\ue000")
@example("\u200d👍\u200d")
@settings(max_examples=500, deadline=None)
def test_any_text_that_can_be_seen_is_like_itself(text: str) -> None:
    assume(visible(text))
    assert rouge_l(text, text, tokenizer="unicode") == 1.0


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["rouge", "unicode"]))
@settings(max_examples=200, deadline=None)
def test_scores_are_symmetric_between_0_and_1_and_0_for_an_empty_text(
    a: str, b: str, tokenizer: Literal["rouge", "unicode"]
) -> None:
    score = rouge_l(a, b, tokenizer=tokenizer)
    assert 0 <= score <= 1
    assert score == rouge_l(b, a, tokenizer=tokenizer)
    assert rouge_l("", a, tokenizer=tokenizer) == rouge_l("", "  \n", tokenizer=tokenizer) == 0


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ("今天天气很好", "今天天气不好", 5 / 6),
        ("コンピューター と 人", "人 と コンピューター", 1 / 3),
        ("สวัสดี", "สวัส", 0.8571),
        ("Straße", "STRASSE", 1.0),
        ("ＡＢＣ", "abc", 1.0),
        ("don't stop", "don't go", 0.5),
        ("good, really!", "good really", 1.0),
        ("good 👍", "good 👎", 0.5),
        ("...", "!!!", 0.0),
    ],
)
def test_unicode_tokens_are_words_or_characters_where_there_are_no_spaces(a: str, b: str, score: float) -> None:
    assert rouge_l(a, b, tokenizer="unicode") == pytest.approx(score, abs=1e-4)


def test_words_can_be_forgotten_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "MOST_WORDS", 10)
    pairs = list(product(ENGLISH, ENGLISH))
    assert [rouge_l(a, b) for a, b in pairs] == [oracle(a, b) for a, b in pairs]


def test_the_stemmer_is_imported_only_for_words_that_need_it() -> None:
    code = (
        "import sys; from tunalm.measures.rouge import rouge_l; rouge_l('a cat', 'the cat')\n"
        "print({'nltk', 'rouge_score'} & set(sys.modules)); rouge_l('nationally', 'dying')\n"
        "print({'torch', 'rouge_score'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["set()", "set()"]


def test_a_stem_is_that_of_nltk_whatever_a_word_ends_in() -> None:
    dice, theirs = random.Random(0), PorterStemmer()
    endings = sorted({suffix for suffixes in STEPS.values() for suffix in suffixes} | {"at", "bl", "iz", "eed", "ies"})
    made = {
        "".join(dice.choices("aeioubcdlstyz0", k=dice.randint(1, 5)) + dice.choices(endings, k=dice.randint(0, 3)))
        for _ in range(20_000)
    }
    asked = [word for word in {*made, *theirs.pool} if len(word) > 3]
    assert [stem(word) for word in asked] == [theirs.stem(word) for word in asked]
