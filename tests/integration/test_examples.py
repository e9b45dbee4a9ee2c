"""Every example runs by itself, in a folder of its own, and shows what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.servers import judge
from tests.judges import marking
from tests.tiny import save_tiny_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHOWN = {
    "rank_by_likelihood": r"^  0  score +-0\.055 .*It is Paris, on the Seine\.$",
    "rank_by_judge": r"^0  11\.0  It is Paris, the capital since 987\.$",
    "train_on_lists": r"^epoch 1: .* in order 0\.\d+\nepoch 20: .* in order 1\.00$",
    "custom_ranker": r"^0  The whale is a large mammal",
    "custom_benchmark": r"^ terse +100\.0 .*\n model +\d",
    "score_saved_predictions": r"^all: ROUGE-L 55\.6, exact match 33\.3$",
}
NEEDS_A_SERVER = {"serve_smollm2"}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SHOWN.keys() | NEEDS_A_SERVER


def test_every_example_imports_from_the_front_door_alone() -> None:
    for path in EXAMPLES.glob("*.py"):
        imported = re.findall(r"^(?:from|import) (tunalm[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert imported == ["tunalm"], path.name


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_promises(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SHOWN[name], done.stdout, re.MULTILINE), done.stdout
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])


def by_last_digit(texts: dict[str, str]) -> str:
    """A judge with an opinion of texts of any length."""
    return marking({label: [len(text) % 6, 1, 1] for label, text in texts.items()})


def test_the_first_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As typed, but with a tiny model in the place of SmolLM2 and a judge on a free port."""
    (code, *_) = re.findall(r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.S)
    assert {"tunalm.sample", "tunalm.rank", "tunalm.train", "tunalm.evaluate"} <= set(re.findall(r"tunalm\.\w+", code))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        judge, "by_length", lambda texts: marking({each: [len(texts[each]) % 6, 1, 1] for each in texts})
    )
    save_tiny_model(tmp_path / "tiny")
    with judge.length_judge() as address:
        code = code.replace("embedded:smollm2", "./tiny").replace("http://127.0.0.1:8000/v1", address)
        exec(compile(code.replace("limit=48", "limit=2"), "README.md", "exec"), {})
    assert (tmp_path / "judge.sqlite").is_file()
    assert (tmp_path / "runs" / "mine" / "model" / "model.safetensors").is_file()
