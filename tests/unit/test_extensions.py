"""Rankers, engines and benchmarks that other installed packages bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunalm.errors import RecipeError
from tunalm.extensions import extension_identity, load_extension
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Extension
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, Response
from tunalm.store import read_rows, write_rows

MODULE = """
from tunalm.data import load
from tunalm.engines.scripted import ScriptedEngine
from tunalm.ranking.base import with_scores


class Shortest:
    name = "shortest"

    def __init__(self, settings, context):
        self._sign = settings.custom.options.get("sign", -1)

    def rank(self, rows):
        return [with_scores(row, [self._sign * len(each.text) for each in row.responses], self.name) for row in rows]

    def figures(self):
        return {"sign": self._sign}


class Short:
    metric = "shortness"

    def __init__(self, settings):
        self._settings = settings

    def rows(self):
        return load(self._settings.data)

    def score(self, prediction):
        return float(len(prediction.prediction) <= self._settings.custom.options["longest"])


def parrot(settings, *, trust_remote_code=False):
    return ScriptedEngine.from_function(lambda request: settings.options["word"], "parrot")
"""
ENTRY_POINTS = """
[tunalm.rankers]
shortest = extension_of_a_test:Shortest
gone = extension_of_a_test:Nothing
[tunalm.engines]
parrot = extension_of_a_test:parrot
[tunalm.benchmarks]
short = extension_of_a_test:Short
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is installed, as far as Python can tell."""
    place = tmp_path / "site"
    (place / "extension_of_a_test-1.0.dist-info").mkdir(parents=True)
    install(place, "1.0")
    (place / "extension_of_a_test.py").write_text(MODULE, encoding="utf-8")
    (place / "extension_of_a_test-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(place))
    return place


def install(place: Path, version: str) -> None:
    metadata = f"Metadata-Version: 2.1\nName: extension-of-a-test\nVersion: {version}\n"
    (place / "extension_of_a_test-1.0.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")


def stages(tmp_path: Path, **options: Any) -> dict[str, Any]:
    texts = [Response(text=text) for text in ("long", "a", "bcd")]
    write_rows(tmp_path / "responses.jsonl", [Ranking(id="a", instruction="Say.", responses=texts)])
    custom = {"name": "shortest", "options": options}
    rank = {"kind": "rank", "by": "custom", "custom": custom, "responses": str(tmp_path / "responses.jsonl")}
    return {"name": "x", "stages": {"ranked": rank}}


def test_a_ranker_of_another_package_ranks(tmp_path: Path) -> None:
    for options, ranks in (({}, [2, 0, 1]), ({"sign": 1}, [0, 2, 1])):
        states = run_recipe(build_recipe(stages(tmp_path, **options)), tmp_path / "run")
        (row,) = read_rows(tmp_path / "run" / "ranked" / "rankings.jsonl", Ranking)
        assert [response.rank for response in row.responses] == ranks
        assert row.ranked_by == "shortest"
        assert states["ranked"]["details"]["sign"] == options.get("sign", -1)


def test_a_new_version_of_the_package_runs_the_stage_again(tmp_path: Path, package: Path) -> None:
    recipe = build_recipe(stages(tmp_path))
    fingerprints = [run_recipe(recipe, tmp_path / "run")["ranked"]["fingerprint"] for _ in range(2)]
    install(package, "1.1")
    changed = run_recipe(recipe, tmp_path / "run")["ranked"]["fingerprint"]
    assert fingerprints[0] == fingerprints[1] != changed


def test_an_engine_of_another_package_answers(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say.", "output": "x"}\n', encoding="utf-8")
    engine = {"kind": "custom", "name": "parrot", "options": {"word": "hello"}}
    tree = {"name": "x", "stages": {"own": {"kind": "sample", "engine": engine, "data": str(tmp_path / "rows.jsonl")}}}
    run_recipe(build_recipe(tree), tmp_path / "run")
    (row,) = read_rows(tmp_path / "run" / "own" / "responses.jsonl", Ranking)
    assert {response.text for response in row.responses} == {"hello"}


def benchmark(tmp_path: Path, **options: Any) -> dict[str, Any]:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say so.", "output": "x"}\n', encoding="utf-8")
    custom = {"name": "custom", "custom": {"name": "short", "options": options}, "data": str(tmp_path / "rows.jsonl")}
    models = {"parrot": {"kind": "custom", "name": "parrot", "options": {"word": "hello"}}}
    scores = {"kind": "evaluate", "models": models, "benchmarks": [custom], "bootstrap_samples": 100}
    return {"name": "x", "stages": {"scores": scores}}


def test_a_benchmark_of_another_package_scores(tmp_path: Path) -> None:
    for longest, value in ((3, 0.0), (5, 100.0)):
        states = run_recipe(build_recipe(benchmark(tmp_path, longest=longest)), tmp_path / "run")
        assert states["scores"]["details"]["short"] == {"parrot": value}


def test_a_benchmark_of_another_package_is_named(tmp_path: Path) -> None:
    tree = benchmark(tmp_path)
    (tree["stages"]["scores"]["benchmarks"][0]).pop("custom")
    with pytest.raises(RecipeError, match="go together"):
        build_recipe(tree)


def test_what_nobody_offers_is_refused_and_the_nearest_named() -> None:
    for use in (lambda: load_extension("tunalm.rankers", "shortist"), lambda: identity("shortist")):
        with pytest.raises(RecipeError, match=r"no installed package.*Did you mean 'shortest'\?"):
            use()


def identity(name: str) -> str:
    return extension_identity("tunalm.rankers", Extension(name=name))


def test_what_cannot_be_imported_is_refused() -> None:
    assert identity("gone") == identity("gone") != identity("shortest")
    with pytest.raises(RecipeError, match="extension_of_a_test:Nothing, which cannot be imported"):
        load_extension("tunalm.rankers", "gone")
