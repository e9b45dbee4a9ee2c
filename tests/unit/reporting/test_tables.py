"""The tables of a report, and the one in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from tests.unit.reporting.conftest import result, results
from tunalm.records import Agreement, Estimate, EvaluationResults, HeldOut, TaskMean
from tunalm.reporting.judges import held_out_table
from tunalm.reporting.numbers import headline, tasks_table, totals_table
from tunalm.reporting.published import Published
from tunalm.reporting.table import results_table
from tunalm.reporting.tables import Table


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def printed(found: EvaluationResults) -> list[str]:
    screen = io.StringIO()
    Console(width=80, file=screen, color_system=None).print(results_table(found))
    return screen.getvalue().splitlines()


def test_totals_have_a_row_per_model_and_a_column_per_number() -> None:
    totals = {"score": 24.25, "score_stderr": 3.0, "complete": True, "by": "them", "rows": 8}
    table = totals_table("lmentry", {"base": result(1.0, totals=totals), "tuna": result(1.0, totals={"other": 1.0})})
    assert [column.heading for column in table.columns] == ["model", "score", "other"]
    assert texts(table) == [["base", "24.2", "-"], ["tuna", "-", "1.0"]]
    assert texts(totals_table("own", {"base": result(1.0)})) == []


def test_a_task_that_a_model_lacks_is_blank() -> None:
    by_model = {
        "base": result(1.0, by_task={"one": TaskMean(value=5.0, n=2)}),
        "tuna": result(1.0, by_task={"two": TaskMean(value=6.0, n=3)}),
    }
    assert texts(tasks_table("own", by_model)) == [["one", "5.0", "", "2"], ["two", "", "6.0", "3"]]


def test_a_proxy_stands_beside_its_baselines() -> None:
    tau = Agreement(proxy=Estimate(value=0.61234, ci95=(0.5, 0.7)), length=Estimate(value=-0.1))
    assert texts(held_out_table("prm", HeldOut(lists=3, kendall_tau=tau))) == [
        ["Kendall's tau with the judge, mean", "0.612 (0.500 to 0.700)", "\N{MINUS SIGN}0.100", "-", "-"]
    ]
    assert texts(held_out_table("prm", HeldOut(lists=0, kendall_tau=tau))) == []


def test_published_numbers_get_a_column_and_their_sources_a_list() -> None:
    published = [
        Published(benchmark="checkable", model="tuna", value=30.0, source="a paper"),
        Published(benchmark="checkable", model="another", value=40.0, source="a page"),
        Published(benchmark="never run", model="tuna", value=50.0, source="unused"),
    ]
    made = headline(results(), published)
    assert texts(made)[:2] == [["base", "20.0", ""], ["sft", "21.0", ""]]
    assert texts(made)[2:] == [["tuna", "31.2*", "30.0 [1]"], ["another", "", "40.0 [2]"]], "* differs from the first"
    assert list(made.sources) == ["a paper", "a page"]


def test_the_terminal_has_value_interval_and_difference_of_every_model() -> None:
    lines = printed(results())
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if line.strip()}
    assert rows["checkable:"] == "checkable: success"
    assert rows["base"] == "base 20.0 16.0 to 24.0 100"
    assert rows["sft"] == "sft 21.0 17.0 to 25.0 +1.0 \N{MINUS SIGN}4.0 to 6.0 100"
    assert rows["tuna"] == "tuna 31.2 27.2 to 35.2 +11.2* 6.2 to 16.2 100!"
    text = " ".join(" ".join(lines).split())
    assert "bootstrap interval over instructions (2000 resamples)" in text
    assert "Holm-corrected for 3 comparisons" in text
    assert "3 answers failed" in text


def test_the_terminal_table_fits_80_columns_also_with_long_names_and_markup() -> None:
    found = results("a-very-long-name-of-a-model", "[bold red]markup[/]", "tuna")
    for pair in found.comparisons:
        pair.difference, pair.ci95 = -100.0, (-100.0, -99.9)
    lines = printed(found)
    assert max(map(len, lines)) <= 80
    assert {"[bold", "red]markup[/]"} <= set("\n".join(lines).split())
    assert any("\N{MINUS SIGN}100.0 to \N{MINUS SIGN}99.9" in line for line in lines)


def test_a_single_model_has_no_differences() -> None:
    found = results()
    found.models, found.comparisons = {"base": found.models["base"]}, []
    text = "\n".join(printed(found))
    assert "*" not in text
    assert "20.0" in text


def test_a_benchmark_that_is_quoted_by_a_total_has_it_first() -> None:
    found = results()
    for model in found.models.values():
        each = model.results["checkable"]
        each.headline, each.totals = "score", {"score": 24.0, "score_stderr": 2.0}
    table = headline(found)
    assert [column.note for column in table.columns[1:]] == ["published score, 0-100", "answers that are right, %"]
    assert (table.rows[0][1].text, table.rows[0][1].note) == ("24.0", "20.1 to 27.9")
    lines = [" ".join(line.split()) for line in printed(found)]
    assert lines[lines.index("checkable: score") + 1] == "base 24.0 20.1 to 27.9 100"
