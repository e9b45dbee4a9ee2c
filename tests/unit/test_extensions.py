"""Rankers, engines and benchmarks of the user's own, by `FILE.py:NAME` and by `package.module:NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunalm.errors import RecipeError
from tunalm.extensions import load_object, object_identity
from tunalm.pipeline.running import run_recipe
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
        self._sign = settings.options.get("sign", -1)

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
        return float(len(prediction.prediction) <= self._settings.options["longest"])


def parrot(settings, *, trust_remote_code=False):
    return ScriptedEngine.from_function(lambda request: settings.options["word"], "parrot")
"""


@pytest.fixture(params=["file", "package"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stands in front of the colon."""
    (tmp_path / "site" / "extension_of_a_test").mkdir(parents=True)
    path = tmp_path / "site" / "extension_of_a_test" / "own.py"
    path.write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return str(path) if request.param == "file" else "extension_of_a_test.own"


def own_ranker(tmp_path: Path, place: str, **options: Any) -> dict[str, Any]:
    texts = [Response(text=text) for text in ("long", "a", "bcd")]
    write_rows(tmp_path / "responses.jsonl", [Ranking(id="a", instruction="Say.", responses=texts)])
    rank = {"kind": "rank", "by": f"{place}:Shortest", "options": options, "responses": f"{tmp_path}/responses.jsonl"}
    return {"name": "x", "stages": {"ranked": rank}}


def test_a_ranker_of_ones_own_ranks(tmp_path: Path, place: str) -> None:
    for options, ranks in (({}, [2, 0, 1]), ({"sign": 1}, [0, 2, 1])):
        states = run_recipe(build_recipe(own_ranker(tmp_path, place, **options)), tmp_path / "run")
        (row,) = read_rows(tmp_path / "run" / "ranked" / "rankings.jsonl", Ranking)
        assert [response.rank for response in row.responses] == ranks
        assert row.ranked_by == "shortest"
        assert states["ranked"].details["sign"] == options.get("sign", -1)


def test_another_content_of_the_module_runs_the_stage_again(tmp_path: Path, place: str) -> None:
    recipe = build_recipe(own_ranker(tmp_path, place))
    before = run_recipe(recipe, tmp_path / "run")["ranked"].fingerprint
    assert run_recipe(recipe, tmp_path / "run")["ranked"].fingerprint == before
    (tmp_path / "site" / "extension_of_a_test" / "own.py").write_text(MODULE + "\n# changed\n", encoding="utf-8")
    assert run_recipe(recipe, tmp_path / "run")["ranked"].fingerprint != before


def test_an_engine_and_a_benchmark_of_ones_own_are_used(tmp_path: Path, place: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say so.", "output": "x"}\n', encoding="utf-8")
    models = {"parrot": {"kind": f"{place}:parrot", "options": {"word": "hello"}}}
    for longest, value in ((3, 0.0), (5, 100.0)):
        own = {"name": f"{place}:Short", "options": {"longest": longest}, "data": str(tmp_path / "rows.jsonl")}
        scores = {"kind": "evaluate", "models": models, "benchmarks": [own], "bootstrap_samples": 100}
        states = run_recipe(build_recipe({"name": "x", "stages": {"scores": scores}}), tmp_path / "run")
        assert states["scores"].details["Short"] == {"parrot": value}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("{place}:Nothing", "no 'Nothing' in it"),
        ("no_such_package_here.x:Y", "no module 'no_such_package_here'"),
        ("tunalm.no_such_module:Y", "no module 'tunalm.no_such_module'"),
        ("just a name", "FILE.py:NAME or package.module:NAME"),
        ("checks.py", "FILE.py:NAME"),
        ("checks.txt:f", "FILE.py:NAME"),
        ("checks.py:not a name", "FILE.py:NAME"),
        ("absent.py:f", "No such file"),
    ],
)
def test_what_does_not_exist_is_refused_without_running_anything(place: str, name: str, complaint: str) -> None:
    for use in (load_object, object_identity):
        with pytest.raises(RecipeError, match=complaint):
            use(name.format(place=place), "by")
