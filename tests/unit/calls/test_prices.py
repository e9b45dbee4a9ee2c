"""Which row of a table of prices speaks of a model, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from tunalm.calls.prices import Price, Prices, Usage, load_prices
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import RecipeError
from tunalm.recipe import BatchSettings, CustomSettings, EndpointSettings, HuggingFaceSettings, ScriptedSettings
from tunalm.recipe.places import Place

REMOTE = Place("api.example.com", "large-2", "endpoint")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's own table would lie."""
    folder = tmp_path / "config"
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: folder / name)
    (folder / "tunalm").mkdir(parents=True)
    return folder / "tunalm"


def table(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"- {{{row}}}\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_table_has_no_price_but_that_of_this_machine() -> None:
    prices = load_prices()
    for host in ("127.0.0.1:8000", "localhost", "[::1]:9"):
        price = prices.find(Place(host, "any", "endpoint"))
        assert price is not None
        assert price.cost(1e9, 1e9) == 0
    assert prices.find(Place("in-process", "owner/name", "huggingface")) is not None
    assert prices.find(REMOTE) is None
    assert all(row.prompt == row.completion == 0 for row in prices.rows)


def test_prices_are_dollars_per_million_tokens(tmp_path: Path) -> None:
    path = table(tmp_path / "mine.yaml", 'host: api.example.com, model: "large-*", prompt: 2, completion: 8')
    price = load_prices(path).find(REMOTE)
    assert price is not None
    assert price.cost(500_000, 250_000) == 1 + 2
    assert load_prices(path).find(Place("api.example.com", "small", "endpoint")) is None


def test_tokens_from_the_cache_and_of_thoughts_may_have_prices_of_their_own() -> None:
    plain = Price(host="*", model="*", prompt=2, completion=8)
    own = Price(host="*", model="*", prompt=2, completion=8, cached_prompt=0.5, reasoning=10)
    usage = Usage(prompt=1000, completion=100, cached=600, reasoning=40)
    assert plain.cost(*usage) == pytest.approx((1000 * 2 + 100 * 8) / 1e6)
    assert own.cost(*usage) == pytest.approx((400 * 2 + 600 * 0.5 + 60 * 8 + 40 * 10) / 1e6)


def test_a_named_table_comes_before_the_users_and_that_before_the_shipped_one(config: Path, tmp_path: Path) -> None:
    table(
        config / "prices.yaml",
        'host: api.example.com, model: "*", prompt: 1, completion: 1',
        'host: loopback, model: "*", prompt: 3, completion: 3',
    )
    named = table(tmp_path / "named.yaml", 'host: "*.example.com", model: large-2, prompt: 2, completion: 2')
    places = (REMOTE, replace(REMOTE, model="large-2-old"), Place("[::1]", "a", "endpoint"))
    found = [load_prices(named).find(place) for place in places]
    assert [price.prompt if price else None for price in found] == [2, 1, 3]
    assert load_prices(named).find(Place("in-process", "scripted", "scripted")).prompt == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("hosts", "fits"),
    [
        (["api.example.com:8443", "API.Example.com", "*.example.com:*", "*"], True),
        (["example.com", "api.example.com:80", "in-process", "loopback"], False),
    ],
)
def test_a_host_is_named_with_its_port_or_by_a_pattern(hosts: list[str], fits: bool) -> None:
    for host in hosts:
        row = Price(host=host, model="*", prompt=1, completion=1)
        assert row.fits(Place("api.example.com:8443", "any", "endpoint")) is fits


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ("- {host: a, model: b, prompt: -1, completion: 0}\n", "row 1: prompt", "must be at least 0"),
        ("- {host: a, model: b, prompt: .nan, completion: 0}\n", "row 1: prompt", "finite"),
        ("- {host: a, model: b, prompt: 1}\n", "row 1: completion", "is missing"),
        ("- {host: a, model: b, prompt: 1, completion: 1, per: 1000}\n", "row 1: per", "not known"),
        ("host: a\n", "table", "list"),
        ("- {host: a\n", ":", "expected"),
    ],
    ids=["negative", "nan", "missing", "unknown-key", "mapping", "no-yaml"],
)
def test_a_wrong_row_is_named(tmp_path: Path, text: str, where: str, found: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_prices(path)
    assert str(path) in caught.value.where
    assert where in caught.value.where
    assert found in caught.value.found


def test_jobs_may_have_a_price_of_their_own() -> None:
    rows = [
        Price(host="a.com", model="*", prompt=cost, completion=1, kind=kind) for cost, kind in ((1, "batch"), (2, None))
    ]
    found = [Prices(tuple(rows)).find(Place("a.com", "any", kind)) for kind in ("batch", "endpoint")]
    assert found == rows


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_prices(tmp_path / "none.yaml")


def test_an_empty_table_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert load_prices(path) == load_prices()


def test_engines_say_where_they_answer() -> None:
    batch = BatchSettings(base_url="https://API.example.com:8443/v1", model="a")
    assert str(batch.place()) == "a at api.example.com:8443"
    assert batch.place().kind == "batch"
    assert EndpointSettings(base_url=["http://[::1]:8000/v1", "http://b/v1"], model="a").place().hosts[-1] == "loopback"
    for engine in (
        ScriptedSettings(),
        HuggingFaceSettings(model="owner/name"),
        CustomSettings(kind="mine.py:Mine"),
        BatchSettings(file="asked.jsonl", model="a"),
    ):
        assert engine.place().host == "in-process"


@pytest.mark.parametrize("protocol", ["chat", "completions"])
def test_an_engine_has_the_identity_that_is_found_without_opening_it(protocol: str) -> None:
    settings = EndpointSettings.model_validate(
        {"base_url": "http://127.0.0.1:1/v1/", "model": "a/b", "protocol": protocol}
    )
    assert EndpointEngine(settings).identity == settings.identity()
    scripted = ScriptedSettings(replies=["a"])
    assert ScriptedEngine(scripted).identity == scripted.identity()
