"""How the replies of a model are read, and what is left out of them."""

from __future__ import annotations

import pytest

from tunalm.instructing.replies import UnreadableError, instances, tasks, yes_or_no


@pytest.mark.parametrize(
    ("text", "continued", "expected"),
    [
        ("9. Sort these.\n10. Add\nthese up.\n", False, ["Sort these.", "Add these up."]),
        ("Of course! Here they are:\n\n9) Sort.\n\n10) Add.\n\nI hope they help!", False, ["Sort.", "Add."]),
        ("**9.** Sort 1.5 and 2.\n**10.** **Sums**: add.", False, ["Sort 1.5 and 2.", "Sums: add."]),
        ("\uff19\uff0e数を並べる。\n10、数を足す。", False, ["数を並べる。", "数を足す。"]),
        (" Sort.\n10. Add.\n\nTask: More", True, ["Sort.", "Add."]),
        ("1. a\n2. b\n3. c\n4. d", False, ["a", "b", "c"]),
        ("1.\n2.\n3. c", False, ["c"]),
    ],
)
def test_new_tasks_are_the_items_of_the_list(text: str, continued: bool, expected: list[str]) -> None:
    assert tasks(text, count=3, cut=False, continued=continued) == expected


def test_a_list_that_was_cut_is_not_used_and_one_that_went_on_was_not_cut() -> None:
    with pytest.raises(UnreadableError, match="cut"):
        tasks("9. Sort.\n10. Ad", count=3, cut=True, continued=False)
    with pytest.raises(UnreadableError, match="no numbered list"):
        tasks("Sort these. Then add them.", count=3, cut=False, continued=False)
    assert tasks("1. a\n2. b\n3. c\n4. d", count=3, cut=True, continued=False) == ["a", "b", "c"]
    assert tasks("a\n2. b\n\nand so on", count=3, cut=True, continued=True) == ["a", "b"]


@pytest.mark.parametrize(("text", "expected"), [(" Yes", True), ("**No**.", False), ("no, it", False), ("YES", True)])
def test_a_class_is_a_plain_yes_or_no(text: str, expected: bool) -> None:
    assert yes_or_no(text) is expected


@pytest.mark.parametrize("text", ["", "Not sure", "It is. Yes", "是"])
def test_anything_else_is_no_answer(text: str) -> None:
    with pytest.raises(UnreadableError, match="neither yes nor no"):
        yes_or_no(text)


def read(
    text: str, *, most: int = 5, cut: bool = False, labels: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    pairs, left_out = instances(text, most=most, cut=cut, labels=labels)
    return pairs, [reason.partition(":")[0] for _, reason in left_out]


def test_examples_are_pairs_of_input_and_output() -> None:
    one, two = "Example 1\nInput: 2, 1\nOutput: 1, 2\n", "**Example 2:**\nList: 4\n3\n**Output:** 3\n4"
    assert read(one + two) == ([("2, 1", "1, 2"), ("List: 4\n3", "3\n4")], [])
    assert read(one + two + "\n\nTask: Another\nOutput: no", cut=True)[0] == read(one + two)[0]
    assert read(one + two, cut=True) == ([("2, 1", "1, 2")], ["cut"])
    assert read(one + two, most=1) == ([("2, 1", "1, 2")], ["surplus"])
    assert read("Output: Hello!") == ([("", "Hello!")], [])


@pytest.mark.parametrize(
    "text", ["Hello!", "Example 1\nInput: 2", "Input: 1\nOutput: 2\nInput: 3\nOutput: 4", "Sure!\nOutput: 2", ""]
)
def test_what_has_not_this_form_is_not_guessed_at(text: str) -> None:
    with pytest.raises(UnreadableError, match="no input and output"):
        read(text)


def test_labels_come_first_and_their_inputs_behind_them() -> None:
    text = "Class label: good\nInput: I like it.\nVery much.\n\nClass label: bad\nReview: No!"
    assert read(text, labels=True) == ([("I like it.\nVery much.", "good"), ("Review: No!", "bad")], [])
    assert read("Class label: (e)", labels=True) == ([("", "(e)")], [])
    with pytest.raises(UnreadableError):
        read("good, bad", labels=True)


def test_instances_are_left_out_for_the_published_reasons() -> None:
    text = "".join(
        f"Example {number}\nInput: {given}\nOutput: {output}\n"
        for number, (given, output) in enumerate([("a", "a"), ("b", ""), ("c:", "d"), ("e", "f"), ("e", "f")], 1)
    )
    assert read(text) == ([("e", "f")], ["output is the input", "no output", "ends with a colon", "repeat"])
    assert read("Example 1\nInput: a\nOutput: b\nExample 2\nInput: a\nOutput: c") == ([], ["contradictory"] * 2)
    assert len(read("Example 1\nOutput: b\nExample 2\nOutput: c")[0]) == 2, "a task without input has many outputs"
    assert read("Class label: b\nClass label: c", labels=True) == ([], ["contradictory"] * 2)
