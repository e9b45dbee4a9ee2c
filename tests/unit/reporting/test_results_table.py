"""The table in the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from tunalm.reporting import results_table

MakeResults = Callable[..., dict[str, Any]]


def printed(found: dict[str, Any]) -> list[str]:
    screen = io.StringIO()
    Console(width=80, file=screen, color_system=None).print(results_table(found))
    return screen.getvalue().splitlines()


def test_one_line_per_model_with_value_interval_and_difference(make_results: MakeResults) -> None:
    lines = printed(make_results("base", "sft", "tuna"))
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if line.strip()}
    assert rows["checkable:"] == "checkable: success"
    assert rows["base"] == "base 20.0 16.0 to 24.0 100"
    assert rows["sft"] == "sft 21.0 17.0 to 25.0 +1.0 \N{MINUS SIGN}4.0 to 6.0 100"
    assert rows["tuna"] == "tuna 31.2 27.2 to 35.2 +11.2* 6.2 to 16.2 100!"


def test_the_caption_explains_interval_star_and_failures(make_results: MakeResults) -> None:
    text = " ".join(" ".join(printed(make_results("base", "sft", "tuna"))).split())
    assert "bootstrap interval over instructions (2000 resamples)" in text
    assert "Holm-corrected for 3 comparisons" in text
    assert "3 answers failed" in text


def test_it_fits_80_columns_also_with_long_names_and_markup_in_them(make_results: MakeResults) -> None:
    found = make_results("a-very-long-name-of-a-model", "[bold red]markup[/]", "tuna")
    for pair in found["comparisons"]:
        pair |= {"difference": -100.0, "ci95": [-100.0, -99.9]}
    lines = printed(found)
    assert max(map(len, lines)) <= 80
    assert {"[bold", "red]markup[/]"} <= set("\n".join(lines).split())
    assert any("\N{MINUS SIGN}100.0 to \N{MINUS SIGN}99.9" in line for line in lines)


def test_a_single_model_has_no_differences(make_results: MakeResults) -> None:
    found = make_results("base", "sft", "tuna")
    found["models"] = {"base": found["models"]["base"]}
    found["comparisons"] = []
    text = "\n".join(printed(found))
    assert "*" not in text
    assert "20.0" in text
