"""Rankings as reward functions: what a trainer gives, what it gets back, and what is paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs
import pytest

import tunalm
from tests.integration.servers.judge import length_judge
from tunalm.calls.spending import accounts
from tunalm.errors import BudgetError, DataError, RecipeError

PROMPTS = ["Say a.", "Say a.", "Say b.", "Say b."]


def words(instruction: tunalm.Instruction, text: str) -> float:
    return float(len(text.split()))


def as_turns(text: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


@pytest.mark.parametrize("conversation", [False, True])
def test_every_completion_gets_the_score_of_its_place_in_its_list(conversation: bool) -> None:
    texts = ["a", "a b", "c d e", "c"]
    prompts: Any = [as_turns(each) for each in PROMPTS] if conversation else PROMPTS
    completions: Any = [as_turns(each, "assistant") for each in texts] if conversation else texts
    reward = tunalm.reward(words)
    assert reward(prompts, completions, completion_ids=[[1]] * 4, trainer_state=None) == [1, 2, 3, 1]
    assert reward.__name__ == "tunalm_words"


def test_what_takes_no_part_is_last_and_what_cannot_be_ranked_is_none() -> None:
    reward = tunalm.reward(words)
    logged: dict[str, float] = {}
    found = reward([*PROMPTS, "Say b."], ["a b", " ", "", "", ""], log_metric=logged.__setitem__)
    assert found == [None, None, None, None, None]
    assert logged == {"tunalm_words/lists_failed": 1.0}
    assert reward(["x"] * 3, ["a b", "", "c"]) == [2, 0, 1]


def test_columns_of_the_data_reach_the_ranker() -> None:
    def nearness(instruction: tunalm.Instruction, text: str) -> float:
        return tunalm.rouge_l(text, instruction.reference or "")

    found = tunalm.reward(nearness)(PROMPTS, ["a", "b", "a", "b"], reference=["a", "a", "b", "b"])
    assert found == [1, 0, 0, 1]


def test_a_veto_counts_for_more_than_a_score() -> None:
    checkers = [{"name": "starts_with", "opening": "A dog"}] * 2
    reward = tunalm.reward(words, veto="verifier")
    assert reward(PROMPTS[:2], ["It is a very large cat.", "A dog eats fish."], checker=checkers) == [-1, 0]


def test_one_completion_leaves_nothing_to_rank() -> None:
    with pytest.raises(DataError, match="num_generations"):
        tunalm.reward(words)(["a", "b"], ["x", "y"])
    with pytest.raises(RecipeError, match="num_order"):
        tunalm.reward(words, num_order=2)


def test_a_judge_is_paid_once_for_the_same_lists_and_stops_at_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a", "a b c", "b", "b c"]
    with length_judge() as address:
        judge = tunalm.Judge(base_url=address, model="judge")
        assert judge.reward is judge.reward
        first = judge.reward(PROMPTS, texts)
        assert first == judge.reward(PROMPTS, texts)
        assert first[1] > first[0]  # type: ignore[operator]
        kept = tunalm.reward(judge, cache=tmp_path / "judge.sqlite", num_orders=2, canaries=0)
        kept(PROMPTS, texts)
        kept(PROMPTS[2:] + PROMPTS[:2], texts[2:] + texts[:2])
        (account,) = accounts(tmp_path / "judge.sqlite").values()
        assert account.answered == 4
        (tmp_path / "prices.yaml").write_text("- {host: loopback, model: judge, prompt: 9, completion: 9}\n")
        monkeypatch.setattr(platformdirs, "user_config_path", lambda name: tmp_path)
        poor = tunalm.reward(judge, max_cost=0.001)
        with pytest.raises(BudgetError):
            poor(PROMPTS, texts)
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        tunalm.reward(judge, cache=tmp_path / "judge.sqlite", num_orders=2, canaries=0)(PROMPTS, texts)
        assert (tmp_path / "judge-1.sqlite").is_file()
