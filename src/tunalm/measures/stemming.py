"""Porter's stemmer with the extensions of NLTK, to the letter: the stems that the package `rouge_score` compares.

M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980; step numbers are those of the paper. A word is
read as consonants and vowels, and its measure m is how often a vowel is followed by a consonant.
"""

from __future__ import annotations

from collections.abc import Sequence

Rules = dict[str, Sequence[tuple[str, str]]]

_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
_CLASSES = str.maketrans({chr(code): "v" if chr(code) in "aeiou" else "c" for code in range(128)})


def _by_ending(pairs: str) -> Rules:
    """Rules `suffix:replacement`, longest first, by the last two letters of the suffix."""
    rules: dict[str, list[tuple[str, str]]] = {}
    for pair in sorted(pairs.split(), key=len, reverse=True):
        suffix, _, replacement = pair.partition(":")
        rules.setdefault(suffix[-2:], []).append((suffix, replacement))
    return dict(rules)


_STEP_2 = _by_ending(
    "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize"
    " ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble fulli:ful logi:log"
)
_STEP_3 = _by_ending("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:")
_STEP_4 = _by_ending("al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize")


def stem(word: str) -> str:
    """Stem of a word of the letters a-z and the digits 0-9."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    if word[-1] == "s":  # step 1a
        word = _singular(word)
    if word[-1] in "dg":  # step 1b
        word = _present(word)
    if word[-1] == "y" and len(word) > 2 and _classes(word[:-1])[-1] == "c":  # step 1c
        word = word[:-1] + "i"
    if word[-2:] in _STEP_2:
        word = _derived(word)
    if word[-2:] in _STEP_3:
        word = _replaced(word, _STEP_3, 1)
    if word[-2:] in _STEP_4:
        word = _replaced(word, _STEP_4, 2)
    return _tidied(word) if word[-1] in "el" else word  # step 5


def _singular(word: str) -> str:
    if word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    return word[:-2] if word.endswith("sses") else word[:-1]


def _present(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    start = word[:-2] if word.endswith("ed") else word[:-3] if word.endswith("ing") else ""
    classes = _classes(start)
    if "v" not in classes:
        return word
    if start.endswith(("at", "bl", "iz")):
        return start + "e"
    if len(start) > 1 and start[-1] == start[-2] and classes[-1] == "c":
        return start if start[-1] in "lsz" else start[:-1]
    return start + "e" if classes.count("vc") == 1 and _is_short(start, classes) else start


def _derived(word: str) -> str:
    """Step 2, with NLTK's rules for -alli and -logi."""
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        word = word[:-2]
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, _STEP_2, 1)


def _tidied(word: str) -> str:
    """Without a final -e or one l of -ll."""
    if word.endswith("e"):
        classes = _classes(word[:-1])
        measure = classes.count("vc")
        if measure > 1 or (measure == 1 and not _is_short(word[:-1], classes)):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _replaced(word: str, rules: Rules, least: int) -> str:
    """Replace the suffix, if what stands before it has at least this measure."""
    for suffix, replacement in rules.get(word[-2:], ()):
        if word.endswith(suffix):
            start = word[: -len(suffix)]
            if _measure(start) < least or (suffix == "ion" and start[-1] not in "st"):
                return word
            return start + replacement
    return word


def _is_short(word: str, classes: str) -> bool:
    """Whether a word ends in consonant, vowel, consonant (but w, x, y), or is a vowel and a consonant."""
    return (classes.endswith("cvc") and word[-1] not in "wxy") or classes == "vc"


def _measure(word: str) -> int:
    return _classes(word).count("vc")


def _classes(word: str) -> str:
    """A `c` for each consonant and a `v` for each vowel; y is a vowel after a consonant."""
    if "y" not in word:
        return word.translate(_CLASSES)
    classes = ""
    for letter in word:
        vowel = classes.endswith("c") if letter == "y" else letter in "aeiou"
        classes += "v" if vowel else "c"
    return classes
