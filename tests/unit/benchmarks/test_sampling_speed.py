from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sampling
from tunalm.engines import open_engine
from tunalm.recipe import HuggingFaceSettings

TINY: dict[str, float] = {
    **sampling.SHAPE,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TINY |= {"num_key_value_heads": 2, "initializer_range": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    sampling.save_model(folder, TINY)
    return folder


def test_both_write_the_same_and_are_timed(folder: Path) -> None:
    generate, ours = sampling.measure(folder, sampling.prompts_of(2), rounds=2, new_tokens=3)
    assert not generate.over
    assert set(ours.over) == set(sampling.TO_REACH)
    assert len(ours.cells()) == len(generate.cells()) == len(sampling.COLUMNS)
    assert ours.as_json()["over"]["prefill"]["to_reach"] == 3.5
    assert ours.tokens == 2 * 4 * 3


def test_another_text_is_not_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "greedy", lambda engine, prompts, new_tokens: ["something else"] * len(prompts))
    with pytest.raises(sampling.DisagreementError):
        sampling.measure(folder, sampling.prompts_of(1), rounds=1, new_tokens=2)


def test_prompts_have_the_tokens_that_they_should(folder: Path) -> None:
    (response, *_) = sampling.sample(
        open_engine(HuggingFaceSettings(model=str(folder), precision="fp32")),
        sampling.prompts_of(1),
        2,
    )
    assert response.prompt_tokens == sampling.PROMPT_TOKENS
