"""A run folder in every order of events, against a model of a few lines: what each stage holds after the next run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.memory import MEMORY
from tunalm.calls.context import StageContext
from tunalm.pipeline import running
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Recipe
from tunalm.records import Ranking, Response
from tunalm.store import Summary, read_rows, write_rows, write_text

PRODUCTS = {"own": "responses.jsonl", "ranked": "rankings.jsonl"}
STAGES = st.sampled_from(sorted(PRODUCTS))


class KilledError(BaseException):
    """The end of the process."""


def row(text: str) -> Ranking:
    return Ranking(id="1", instruction="Say it.", responses=[Response(text=text, rank=0)])


def said(path: Path) -> str:
    return str(read_rows(path, Ranking)[0].responses[0].text)


def work(kind: str) -> Any:
    """What stages do here: say what their knobs are and what they have read."""

    def run(stage: Any, context: StageContext) -> Summary:
        if kind == "sample":
            text = f"sampled with {stage.seed} from {said(Path(stage.data.source))}"
        else:
            text = f"ranked with {stage.length_penalty} from {said(Path(stage.responses))}"
        write_rows(context.folder / PRODUCTS["own" if kind == "sample" else "ranked"], [row(text)])
        return Summary(1, 1)

    return run


@contextmanager
def killed_at(moment: int) -> Iterator[None]:
    """The process ends as it names a file for the `moment`-th time from now (0: it does not)."""
    left, replace = [moment], os.replace

    def counted(*paths: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        replace(*paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", counted)
        yield


class FolderOrders(RuleBasedStateMachine):
    """A recipe of two stages, one of which reads the other, and somebody who changes things between runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        self.run_dir = self.folder / "run"
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(running, "runner", work)
        patch.setattr("tunalm.pipeline.manifest._git_commit", lambda: None)
        patch.setattr("tunalm.pipeline.manifest.write_card", lambda *_: None)
        patch.setattr(running, "write_card", lambda *_: None)
        patch.setattr("tunalm.reporting.report.write_report", self.report)
        self.knobs = {"own": 0, "ranked": 1.0}
        self.edits: dict[tuple[object, ...], str] = {}
        """What somebody has made of a product, by what it had been made of."""
        self.count = 0
        self.finished = False
        self.data("0")

    def report(self, run: Any, published: object) -> None:
        """The report says what the products say."""
        write_text(self.run_dir / "report.html", "\n".join(said(self.product(stage)) for stage in PRODUCTS))

    def product(self, stage: str) -> Path:
        return self.run_dir / stage / PRODUCTS[stage]

    def key(self, stage: str) -> tuple[object, ...]:
        """What a product is made of: knobs and what is read."""
        return (self.knobs[stage], self.content if stage == "own" else self.expected("own"), stage)

    def expected(self, stage: str) -> str:
        """What a product says after a run."""
        knob, read, _ = key = self.key(stage)
        verb = "sampled" if stage == "own" else "ranked"
        return self.edits.get(key, f"{verb} with {knob} from {read}")

    @rule(content=st.sampled_from("012"))
    def data(self, content: str) -> None:
        """The input file is replaced."""
        self.content = content
        write_rows(self.folder / "data.jsonl", [row(content)])
        self.finished = False

    @rule(seed=st.integers(0, 2))
    def seed(self, seed: int) -> None:
        self.knobs["own"] = seed
        self.finished = False

    @rule(beta=st.sampled_from([1.0, 1.3]))
    def length_penalty(self, beta: float) -> None:
        self.knobs["ranked"] = beta
        self.finished = False

    @rule(moment=st.integers(0, 12))
    def run(self, moment: int) -> None:
        """The recipe is run, perhaps not to the end, and then to the end."""
        own = {"kind": "sample", "data": str(self.folder / "data.jsonl"), "engine": {"kind": "scripted"}}
        ranked = {"kind": "rank", "by": "likelihood", "responses": "own", "length_penalty": self.knobs["ranked"]}
        stages = {"own": {**own, "seed": self.knobs["own"], "logprobs": True}, "ranked": ranked}
        recipe = Recipe.model_validate({"name": "orders", "stages": stages})
        with suppress(KilledError), killed_at(moment):
            run_recipe(recipe, self.run_dir)
        run_recipe(recipe, self.run_dir)
        for stage in PRODUCTS:
            assert said(self.product(stage)) == self.expected(stage)
        report = (self.run_dir / "report.html").read_text(encoding="utf-8")
        assert report == "\n".join(map(self.expected, PRODUCTS)), "the report is that of another run"
        self.finished = True

    @rule(stage=STAGES)
    def edited(self, stage: str) -> None:
        if self.finished and self.product(stage).exists():
            self.count += 1
            write_rows(self.product(stage), [row(f"edit {self.count}")])
            self.edits[self.key(stage)] = f"edit {self.count}"
            self.finished = False

    @rule(stage=STAGES, how=st.sampled_from(["gone", "cut", "empty"]))
    def broken(self, stage: str, how: str) -> None:
        if self.finished and self.product(stage).exists():
            content = self.product(stage).read_bytes()
            self.product(stage).unlink()
            if how != "gone":
                self.product(stage).write_bytes(content[: len(content) // 2 if how == "cut" else 0])
            self.edits.pop(self.key(stage), None)
            self.finished = False

    def teardown(self) -> None:
        self.stack.close()


def every_order(runs: int) -> None:
    """So many runs of the machine."""
    each = settings(max_examples=runs, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNALM_QUIET", "1")
        run_state_machine_as_test(FolderOrders, settings=each)


def test_a_run_folder_in_every_order() -> None:
    every_order(40)
