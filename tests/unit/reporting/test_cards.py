"""Cards of models and lists: facts of a run, and nothing of the machine that it ran on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.resolving import resolve
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import (
    Difference,
    EvaluationKnobs,
    EvaluationResults,
    ModelResults,
    Ranking,
    Response,
    Result,
    StageState,
)
from tunalm.reporting.cards import card_of, public_rows, write_card
from tunalm.store import folder_identity, write_json, write_rows

ADDRESS = "http://127.0.0.1:8123/v1"
DETAILS = {"rows": 12, "trained": 11, "dropped": 1, "steps": 6, "loss": 1.25, "tokens": 12345}


def line(tmp_path: Path, base: str = "embedded:smollm2", data: Any = "owner/rows") -> Recipe:
    """The paper's line with a judge behind an address and a checker in a file."""
    (tmp_path / "checks.py").write_text("def right(instruction, text):\n    return True\n", encoding="utf-8")
    server = {"base_url": ADDRESS, "model": str(tmp_path / "served" / "llama")}
    stages = {
        "sft": {"kind": "sft", "model": base, "data": data},
        "teacher": {"kind": "sample", "engine": server, "data": data, "num_responses": 3},
        "judged": {
            "kind": "rank",
            "by": "judge",
            "engine": server | {"model": "judge-7b"},
            "responses": "teacher",
            "veto": "verifier",
            "verifier": f"{tmp_path}/checks.py:right",
        },
        "tuna": {"kind": "train", "start": "sft", "rankings": "judged", "lora_rank": 8},
        "scores": {
            "kind": "evaluate",
            "models": {"before": "sft", "after": "tuna"},
            "benchmarks": [{"name": "checkable", "data": {"source": "checkable:heldout", "limit": 8}}],
        },
    }
    description = "Rows | of *mine*\n---\n<b>bold</b>"
    return build_recipe({"name": "line", "description": description, "stages": stages})


def states(**more: StageState) -> dict[str, StageState]:
    def done(**details: Any) -> StageState:
        return StageState(status="done", requested=12, ok=11, failed=1, details=details)

    trained = {"sft": done(**DETAILS), "tuna": done(**{**DETAILS, "loss": 0.75})}
    return {**trained, "teacher": done(), "judged": done(tied_pairs=0.125), **more}


def entries(text: str) -> dict[str, Any]:
    """What a hub reads at the head of a card."""
    data: Any = ModelCard(text).data
    return dict(data.to_dict())


def evaluated(run: Path) -> None:
    """Results of the evaluation, as it writes them."""
    values = {"before": (25.0, (0.0, 50.0)), "after": (62.5, (25.0, 87.5))}
    models = {
        name: ModelResults(identity="x", results={"checkable": Result(metric="success", value=value, ci95=ends, n=8)})
        for name, (value, ends) in values.items()
    }
    pair = Difference(benchmark="checkable", model="after", against="before", metric="success", ci95=(12.5, 62.5))
    knobs = EvaluationKnobs(bootstrap_samples=100, seed=0, max_new_tokens=8)
    (run / "scores").mkdir(parents=True)
    results = EvaluationResults(baseline="before", models=models, comparisons=[pair], settings=knobs)
    write_json(run / "scores" / "results.json", results.model_dump(mode="json"))


def test_the_card_of_a_model_says_where_it_comes_from(tmp_path: Path) -> None:
    card = card_of(line(tmp_path), "tuna", states(), tmp_path)
    assert entries(card)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert entries(card)["license"] == "apache-2.0"
    assert entries(card)["datasets"] == ["owner/rows"]
    assert entries(card)["library_name"] == "transformers"
    assert {"tunalm", "ranking-feedback"} <= set(entries(card)["tags"])
    assert "| sft | sft | HuggingFaceTB/SmolLM2-135M-Instruct | 11 | 6 | 1.250 |" in card
    assert "| tuna | train | the model of the stage sft | 11 | 6 | 0.750 |" in card
    assert (
        "| judged | 3 | a model behind a server | judge, judge-7b, behind a server; below that, what a program" in card
    )
    assert "lora_rank: 8" in card
    assert "Not evaluated in this run." in card
    imitation = card_of(line(tmp_path), "sft", states(), tmp_path)
    assert "ranking-feedback" not in entries(imitation)["tags"]
    assert "imitates responses" in imitation
    assert "lists of responses" not in imitation


def test_a_card_says_which_loss_was_used(tmp_path: Path) -> None:
    recipe = line(tmp_path)
    for knobs, said in (({"convention": "lmops"}, "convention: lmops"), ({"loss": "dpo"}, "loss: dpo")):
        changed = recipe.stages["tuna"].model_copy(update=knobs)
        other = recipe.model_copy(update={"stages": recipe.stages | {"tuna": changed}})
        assert said in card_of(other, "tuna", states(), tmp_path)


def test_a_proxy_and_what_is_reinforced_by_it_have_cards(tmp_path: Path) -> None:
    tree = line(tmp_path).model_dump()
    tree["stages"] |= {
        "prm": {"kind": "proxy", "start": "embedded:smollm2", "rankings": "judged"},
        "by_prm": {"kind": "rank", "by": "proxy", "model": "prm", "responses": "teacher"},
        "rl": {"kind": "rl", "start": "sft", "reward": "prm", "data": "owner/rows"},
    }
    recipe = build_recipe(tree)
    proxy, lists, reinforced = (card_of(recipe, name, states(), tmp_path) for name in ("prm", "by_prm", "rl"))
    assert "reward-model" in entries(proxy)["tags"]
    assert "pipeline_tag" not in entries(proxy)
    assert "by: proxy" in proxy
    assert "| ranked by | proxy, the model of the stage prm |" in lists
    assert entries(reinforced)["pipeline_tag"] == "text-generation"
    assert "| rl | rl | the model of the stage sft |" in reinforced
    assert "| judged | 3 |" in reinforced


def test_the_card_of_lists_says_who_wrote_and_who_ranked(tmp_path: Path) -> None:
    card = card_of(line(tmp_path), "judged", states(), tmp_path)
    assert entries(card)["configs"] == [{"config_name": "default", "data_files": "rankings.jsonl"}]
    assert "| responses written by | a model behind a server |" in card
    assert "| of these without a failure | 11 |" in card
    assert "| tied pairs | 0.125 |" in card
    assert "terms of use" in card
    assert "by: judge" in card
    assert "responses: teacher" not in card, "settings in a card are numbers and words of their own"


@pytest.mark.parametrize("stage", ["sft", "teacher", "judged", "tuna"])
def test_no_card_tells_a_path_an_address_or_a_key(tmp_path: Path, stage: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}', encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    recipe = line(tmp_path, str(tmp_path / "base"), str(tmp_path / "rows.jsonl"))
    keyed = recipe.model_copy(update={"description": "With sk-abcdefghij0123456789."})
    text = card_of(keyed, stage, states(), tmp_path)
    assert str(tmp_path) not in text
    assert "8123" not in text
    assert "sk-abcdefghij" not in text
    assert "rows.jsonl" in text.replace("\\", "")
    assert "base_model" not in entries(text)


def test_texts_of_others_cannot_become_entries_or_markup(tmp_path: Path) -> None:
    text = card_of(line(tmp_path), "judged", states(), tmp_path)
    assert r"Rows \| of \*mine\* --- \<b\>bold\</b\>" in text
    hostile = 'x: [y"\n---'
    card = card_of(line(tmp_path).model_copy(update={"name": hostile}), "judged", states(), tmp_path)
    assert entries(card)["pretty_name"] == f"{hostile}: judged"


def test_results_come_in_when_the_evaluation_is_done(tmp_path: Path) -> None:
    evaluated(tmp_path)
    recipe = line(tmp_path)
    row = "| checkable | success | 62.5 | 25.0 to 87.5 | before | 25.0 | 12.5 to 62.5 | 8 | 0 |"
    assert row not in card_of(recipe, "tuna", states(), tmp_path)
    done = states(scores=StageState(status="done"))
    assert row in card_of(recipe, "tuna", done, tmp_path)
    assert "| checkable | success | 25.0 | 0.0 to 50.0 | - | - | - | 8 | 0 |" in card_of(recipe, "sft", done, tmp_path)


def test_a_card_that_somebody_has_made_his_own_stays(tmp_path: Path) -> None:
    recipe, card = line(tmp_path), tmp_path / "tuna" / "model" / "README.md"
    write_card(recipe, "tuna", states(), tmp_path)
    assert not card.exists()  # nor the folder, because nothing was trained
    card.parent.mkdir(parents=True)
    write_card(recipe, "tuna", states(), tmp_path)
    written = card.read_text(encoding="utf-8")
    card.write_text(written + "An addition.\n", encoding="utf-8")
    write_card(recipe, "tuna", states(), tmp_path)
    assert card.read_text(encoding="utf-8") == written
    own = "".join(line for line in written.splitlines(keepends=True) if "Written by tunalm" not in line)
    card.write_text(own, encoding="utf-8")
    write_card(recipe, "tuna", states(), tmp_path)
    assert card.read_text(encoding="utf-8") == own


def test_a_card_does_not_make_a_model_another_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    before = folder_identity(tmp_path)
    (tmp_path / "README.md").write_text("A model.", encoding="utf-8")
    assert folder_identity(tmp_path) == before


def test_a_licence_is_told_and_changes_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    data = {"source": str(tmp_path / "rows.jsonl"), "rows": ":1"}
    plain, licensed = line(tmp_path, data=data), line(tmp_path, data=data | {"license": "cc-by-nc-4.0"})
    assert "rows :1 | not stated |" in card_of(plain, "tuna", states(), tmp_path)
    assert "rows :1 | cc-by-nc-4.0 |" in card_of(licensed, "tuna", states(), tmp_path)
    run = RunFolder(tmp_path / "run")
    assert [step.fingerprint for step in resolve(plain, run)] == [step.fingerprint for step in resolve(licensed, run)]


def test_the_licence_of_a_base_model_is_that_of_its_card(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    head = {"license": "other", "license_name": "llama", "license_link": "https://example.org/l", "tags": ["x"]}
    (base / "README.md").write_text(f"---\n{yaml.safe_dump(head)}---\nText\n", encoding="utf-8")
    card = card_of(line(tmp_path, str(base)), "tuna", states(), tmp_path)
    assert entries(card)["license"] == "other"
    assert entries(card)["license_name"] == "llama"
    assert "`llama` is the licence" in card
    (base / "README.md").write_text("---\n- [broken\n---\n", encoding="utf-8")
    assert "this card names none" in card_of(line(tmp_path, str(base)), "tuna", states(), tmp_path)


def test_rows_for_everybody_keep_texts_and_lose_places(tmp_path: Path) -> None:
    recipe, run = line(tmp_path), tmp_path / "run"
    text = "See /etc/hosts and http://example.org/x"
    model = str((run / "tuna" / "model").resolve())
    responses = [
        Response(text=text, model=model, rank=0),
        Response(text="", model="owner/name", failure=f"no answer from {ADDRESS}/chat, see {tmp_path}/log.txt"),
    ]
    judgement = {"not_scored": {"1": f"OSError: {tmp_path}/x"}, "reference": "either/or at 1/2"}
    row = Ranking(id="a", instruction=text, responses=responses, ranked_by=f"judge {ADDRESS} m", judgement=judgement)
    write_rows(tmp_path / "rankings.jsonl", [row])
    (line_,) = public_rows(tmp_path / "rankings.jsonl", recipe, run)
    read = Ranking.model_validate_json(line_)
    assert [response.model for response in read.responses] == ["tuna", "owner/name"]
    assert read.instruction == read.responses[0].text == text
    assert read.ranked_by == "judge [place] m"
    assert read.judgement is not None
    assert read.judgement["reference"] == "either/or at 1/2"
    assert str(tmp_path) not in line_
    assert "8123" not in line_
