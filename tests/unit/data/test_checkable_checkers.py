"""The checkers: right responses, wrong ones, cheap tricks, and any text at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.data.checkable import check, generate
from tunalm.errors import DataError

ONE_ROW_EACH = generate("train")[:16]

CONTAINS = {"name": "contains_words", "words": ["lamp", "boat"]}
AVOIDS = {"name": "avoids_word", "topic": "rain", "taboo": "water"}
STARTS = {"name": "starts_with", "opening": "The old lamp"}
ENDS = {"name": "ends_with", "ending": "lamp"}
BRIEF = {"name": "brief", "topic": "lamp", "most": 8}
FIRST = {"name": "letter", "word": "table", "place": "first"}
LAST = {"name": "letter", "word": "table", "place": "last"}
FIRST_A = {"name": "letter", "word": "arrow", "place": "first"}
LARGER = {"name": "larger_number", "numbers": [17, 92]}
KIND = {"name": "one_of_kind", "kind": "fruit", "options": ["hammer", "apple", "chair"]}
OPPOSITE = {"name": "opposite", "asked": "hot", "accepted": ["cold", "cool"]}
THERE = {"name": "yes_or_no", "item": "lamp", "items": ["boat", "lamp", "coin"]}
NOT_THERE = {"name": "yes_or_no", "item": "desk", "items": ["boat", "lamp", "coin"]}
LIST = {"name": "list_of", "kind": "animal", "count": 3}
TITLED = {"name": "titled", "text": "old lamp"}
REPEATED = {"name": "repeated", "word": "moon", "times": 3}
BRACKETED = {"name": "bracketed", "word": "lamp", "brackets": "[ ]"}
JSON = {"name": "json_pair", "key": "lamp", "value": "old"}
SWAPPED = {"name": "swapped", "words": ["old", "lamp"]}


@pytest.mark.parametrize(
    ("checker", "response"),
    [
        (CONTAINS, "The lamp stood in the boat."),
        (CONTAINS, '"Is the LAMP on your boat?"'),
        (AVOIDS, "The rain was cold, 3.5 degrees at most."),
        (STARTS, "The old lamp is broken."),
        (ENDS, "He carried the big lamp!"),
        (ENDS, 'They call it "the lamp."'),
        (BRIEF, "My lamp is very old."),
        (FIRST, "T"),
        (FIRST, '"t".'),
        (FIRST, 'The first letter of "table" is a T.'),
        (FIRST, '"T" is the first letter of "table".'),
        (LAST, 'The last letter of the word "table" is "e".'),
        (FIRST_A, "A"),
        (LARGER, "92"),
        (LARGER, "The larger one of 17 and 92 is 92."),
        (LARGER, "92 is bigger than 17."),
        (KIND, "Apple."),
        (KIND, "The apple is a kind of fruit."),
        (OPPOSITE, "Cold"),
        (OPPOSITE, 'The opposite of "hot" is "cool."'),
        (OPPOSITE, '"Cold" is the opposite of "hot".'),
        (THERE, "Yes, it has."),
        (NOT_THERE, "no"),
        (NOT_THERE, "No, it is not in the list."),
        (LIST, "Cats, polar bears and a fox"),
        (LIST, "Here are three animals: cat, dog, bear."),
        (LIST, "wolf, goose, puppies"),
        (TITLED, "Old Lamp"),
        (TITLED, 'Here it is: "Old Lamp".'),
        (REPEATED, "Moon, moon, moon!"),
        (REPEATED, "moon\nmoon\nmoon"),
        (BRACKETED, "[lamp]"),
        (BRACKETED, "`[ lamp ]`"),
        (JSON, '{"lamp": "old"}'),
        (JSON, '```json\n{\n  "lamp": "old"\n}\n```'),
        (SWAPPED, "lamp, old"),
        (SWAPPED, "Swapped: lamp old"),
    ],
)
def test_right(checker: dict[str, Any], response: str) -> None:
    assert check(checker, response) == 1.0


@pytest.mark.parametrize(
    ("checker", "response"),
    [
        (CONTAINS, "lamp boat"),
        (CONTAINS, "lamp boat lamp boat."),
        (CONTAINS, "The lamp stood in the boat"),
        (CONTAINS, "The lamp stood there. The boat did not."),
        (CONTAINS, "Here is a sentence with the lamp and the boat."),
        (CONTAINS, "The lamp and the boat " + "and so on " * 10 + "."),
        (CONTAINS, "The lampshade lay under the boathouse."),
        (AVOIDS, "The rain is cold water."),
        (AVOIDS, "Everything was wet yesterday."),
        (STARTS, "The old lamp."),
        (STARTS, "An old lamp is there."),
        (ENDS, "lamp."),
        (ENDS, "The last word is lamp."),
        (BRIEF, "My boat is old."),
        (BRIEF, "Lamp."),
        (FIRST, "a b c d e f g h i j k l m n o p q r s t"),
        (FIRST, "table"),
        (FIRST, 'The first letter is "b".'),
        (FIRST_A, "A good start is b."),
        (FIRST_A, "A letter"),
        (LAST, "T, a, b, l, e"),
        (LARGER, "17"),
        (LARGER, "17 92"),
        (LARGER, "17 is larger than 92."),
        (LARGER, "92 is larger than 17. 17 is larger than 92."),
        (LARGER, "The larger number is not 92."),
        (LARGER, "The smaller number is 92."),
        (LARGER, "The number is 920."),
        (KIND, "hammer, apple, chair"),
        (KIND, "The apple is not a fruit."),
        (KIND, "A pear is a fruit."),
        (OPPOSITE, "hot"),
        (OPPOSITE, "warm, hot, cold"),
        (OPPOSITE, "The opposite of hot is not cold"),
        (OPPOSITE, "The opposite of cold is hot."),
        (THERE, "No."),
        (THERE, "Yes or no."),
        (THERE, "Yes, lamp is not in the list."),
        (NOT_THERE, "Yes"),
        (NOT_THERE, "No. Yes."),
        (NOT_THERE, "Maybe no"),
        (LIST, "cat, cats, dog"),
        (LIST, "cat, dog, table"),
        (LIST, "cat dog bear"),
        (LIST, "cat"),
        (TITLED, "old lamp"),
        (TITLED, "Old Lamps"),
        (REPEATED, "moon"),
        (REPEATED, "moon " * 20),
        (REPEATED, "moon moon sun"),
        (BRACKETED, "lamp"),
        (BRACKETED, "[table]"),
        (BRACKETED, "[lamp] (lamp) {lamp}"),
        (JSON, "lamp: old"),
        (JSON, '{"lamp": "new"}'),
        (JSON, '["lamp", "old"]'),
        (JSON, '{"lamp": "old"} is the object.'),
        (JSON, "[" * 100_000),
        (SWAPPED, "old lamp"),
        (SWAPPED, "lamp old lamp"),
    ],
)
def test_wrong(checker: dict[str, Any], response: str) -> None:
    assert check(checker, response) == 0.0


@pytest.mark.parametrize(
    ("checker", "better", "worse"),
    [
        (CONTAINS, "The lamp was very old.", "The desk was very old."),
        (ENDS, "The lamp was very old.", "The desk was very old."),
        (BRIEF, "My lamp is a very old one from a shop.", "My lamp is a very old one from a shop in the next town."),
        (LIST, "cat, dog, bear, fox", "cat, dog, bear, fox, wolf, pig"),
        (TITLED, "Old lamp", "old lamp"),
        (REPEATED, "moon moon", "moon"),
        (BRACKETED, "(lamp)", "lamp"),
        (JSON, '{"lamp": "old", "count": 1}', '{"lamp": {"state": "old"}}'),
    ],
)
def test_a_wrong_response_may_be_nearer_than_another(checker: dict[str, Any], better: str, worse: str) -> None:
    assert 0.5 >= check(checker, better) > check(checker, worse)


@given(response=st.text())
def test_any_text_gets_a_score(response: str) -> None:
    for row in ONE_ROW_EACH:
        assert row.checker is not None
        assert 0.0 <= check(row.checker, response) <= 1.0


@given(data=st.data())
def test_any_mixture_of_the_words_of_a_task_gets_a_score(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ONE_ROW_EACH))
    assert row.checker is not None
    words = f"{row.instruction} {row.reference}".split()
    pieces = st.sampled_from(
        [*words, ".", ",", ":", "\n", '"', "is", "not", "{", "}", "[", "]", "7", "\u00b2", "\u0130"]
    )
    response = data.draw(st.lists(pieces).flatmap(lambda drawn: st.sampled_from([" ".join(drawn), "".join(drawn)])))
    assert 0.0 <= check(row.checker, response) <= 1.0


def test_an_unknown_checker_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"found the name 'contain_words'.*avoids_word.*Did you mean 'contains_words'"):
        check({"name": "contain_words", "words": ["lamp"]}, "A lamp.")


@pytest.mark.parametrize("name", [None, 3, ["letter"], {}])
def test_a_name_that_is_no_text_is_an_error(name: object) -> None:
    with pytest.raises(DataError, match="checker: found the name"):
        check({"name": name}, "A lamp.")


@pytest.mark.parametrize(
    ("checker", "where"),
    [
        ({"name": "letter", "word": "table"}, "place"),
        ({"name": "letter", "word": "table", "place": "middle"}, "place"),
        ({"name": "letter", "word": "?!", "place": "first"}, "word"),
        ({"name": "repeated", "word": "moon", "times": "3"}, "times"),
        ({"name": "repeated", "word": "moon", "times": -1}, "times"),
        ({"name": "contains_words", "words": []}, "words"),
        ({"name": "larger_number", "numbers": [1]}, "numbers"),
        ({"name": "list_of", "kind": "fruits", "count": 2}, "kind.*Did you mean 'fruit'"),
        ({"name": "ends_with", "ending": "lamp", "response": "lamp"}, "response"),
        ({"name": "ends_with", "ending": "lamp", "colour": "red"}, "colour"),
    ],
)
def test_wrong_parameters_are_an_error(checker: dict[str, Any], where: str) -> None:
    with pytest.raises(DataError, match=f"checker '{checker['name']}': {where}"):
        check(checker, "A lamp.")
