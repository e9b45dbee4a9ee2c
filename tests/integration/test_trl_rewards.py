"""TRL's trainers take a judge, a checker and a proxy as reward functions, and train on their scores."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import tunalm
from tests.integration.servers.judge import length_judge
from tests.tiny import save_tiny_scorer
from tunalm.calls.spending import accounts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("trl") is None, reason="TRL (extra baselines) is not installed"),
]


def longer(instruction: tunalm.Instruction, text: str) -> float:
    return float(len(text))


@pytest.mark.parametrize("method", ["GRPO", "RLOO"])
def test_a_trainer_of_trl_asks_a_judge_a_function_and_a_proxy(method: str, tiny_model: Path, tmp_path: Path) -> None:
    import trl
    from datasets import Dataset

    proxy = save_tiny_scorer(tmp_path / "proxy", tiny_model, 256)
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": f"Say {number}."}]} for number in range(4)])
    settings = getattr(trl, f"{method}Config")(
        output_dir=str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=6,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        seed=0,
    )
    with length_judge() as address:
        judge = tunalm.Judge(base_url=address, model="judge")
        paid = tunalm.reward(judge, cache=tmp_path / "judge.sqlite", num_orders=2, canaries=0)
        functions: list[Any] = [judge.reward, paid, tunalm.reward(longer), tunalm.reward("proxy", model=str(proxy))]
        trainer = getattr(trl, f"{method}Trainer")(
            model=AutoModelForCausalLM.from_pretrained(tiny_model),
            reward_funcs=functions,
            args=settings,
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(tiny_model),
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/tunalm_longer/mean" in entry]
    assert len(logged) == 2
    assert all(entry["rewards/tunalm_longer/mean"] > 0 for entry in logged)
    assert {"rewards/tunalm_judge/mean", "rewards/tunalm_proxy/mean"} <= logged[0].keys()
    (account,) = accounts(tmp_path / "judge.sqlite").values()
    assert account.answered > 0
