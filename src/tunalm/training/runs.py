"""The stages `sft` and `train`, and the function `train`: rows in, a model folder out (see `fitting`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.data import imitated, load, require_references
from tunalm.data.lists import load_lists, require_ranked
from tunalm.errors import DataError, StoreError
from tunalm.progress import console, is_main_process
from tunalm.recipe import Lists, Sft, Train
from tunalm.recipe.models import model_identity
from tunalm.recipe.training import BETAS
from tunalm.records import Ranking
from tunalm.store import Summary, digest, write_json
from tunalm.training.fitting import TrainingRun


def train(rows: Sequence[Ranking], settings: Train, out: Path, *, trust_remote_code: bool = False) -> Summary:
    """Train a model on ranked lists (Eq. 4-6).

    Args:
        rows: lists; the sources in `settings.rankings` are not read.
        settings: of the stage.
        out: a folder of this training alone; the model lies in `out/model`. A call that was killed is resumed by the
            same call.
        trust_remote_code: whether the model may run code of its own.

    Returns:
        The rows that were trained on; what was left out by rule is no failure and stands in `details`: `rows` given,
        `dropped` (the prompt fills max_length), `idle` (nothing to rank and nothing to imitate, or tied and not
        wanted), `unranked` (no pair of different ranks), and of those trained on, `imitated` (they have what L_MLE
        asks for) and `cut` (a response is longer than max_length allows).

    Raises:
        DataError: there is nothing to rank, an id stands twice, or no list has a reference and L_MLE asks for it.
        ModelError: the model or its template cannot be used.
        StoreError: `out` holds another training.
        TrainingError: a loss that is not finite.
    """
    require_ranked(rows, settings.rankings[0].source)
    _require_imitated(rows, settings)
    _claim(out, settings, rows)
    return TrainingRun(settings, settings.start, rows, _objective(settings), out, trust_remote_code)()


def run_sft(settings: Sft, context: StageContext) -> Summary:
    """The stage `sft`: fine-tune a base model on instructions and references (Eq. 1-2).

    Raises:
        DataError: a row has no reference, or no row fits.
        ModelError: the model or its template cannot be used.
        TrainingError: a loss that is not finite.
    """
    instructions = load(settings.data)
    require_references(instructions, settings.data.source)
    rows = [row.with_responses([]) for row in instructions]
    if settings.responses is not None:
        rows += imitated(load_lists(settings.responses))
    return TrainingRun(settings, settings.model, rows, {}, context.folder, context.trust_remote_code)()


def run_train(settings: Train, context: StageContext) -> Summary:
    """The stage `train`: read the lists, then as the function `train`; `details` has the `lists` of each source."""
    rows, parts = read_lists(settings.rankings)
    _require_imitated(rows, settings)
    job = TrainingRun(settings, settings.start, rows, _objective(settings), context.folder, context.trust_remote_code)
    summary = job()
    return replace(summary, details={"lists": parts, **summary.details})


def _objective(settings: Train) -> dict[str, Any]:
    """The arguments of `RankingConfig` that say what is learned."""
    return {
        "margin": settings.margin,
        "mle_weight": settings.mle_weight,
        "convention": settings.convention,
        "ranking_loss": settings.loss,
        "beta": settings.beta or BETAS.get(settings.loss, 1.0),
        "pairs": settings.pairs,
        "imitate": settings.imitate or ("best" if settings.loss == "rrhf" else "reference"),
        "margin_from": settings.margin_from,
        "min_imitated_score": settings.min_imitated_score,
        "anchor": settings.anchor,
        "keep_ties": settings.tied_lists == "keep",
    }


def _claim(out: Path, settings: Train, rows: Sequence[Ranking]) -> None:
    """Make a folder the one of this training, or find that it is.

    Raises:
        StoreError: it is that of another one.
    """
    known = settings.model_dump(mode="json", exclude=set(settings.not_hashed))
    read = [row.model_dump(mode="json") for row in rows]
    identity = digest({"settings": known, "start": model_identity(settings.start), "rows": read})
    mark = out / "trained_on.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8"))["sha256"] != identity:
        raise StoreError(
            out,
            found="a training from another model, on other rows or with other settings",
            fix="Choose another folder, or delete this one.",
        )
    if is_main_process():
        write_json(mark, {"sha256": identity})


def read_lists(sources: Sequence[Lists]) -> tuple[list[Ranking], list[int]]:
    """Read ranked lists to train on, one part after the other.

    Returns:
        All rows, with ids that differ, and how many each part has.

    Raises:
        DataError: a part has nothing to rank, or an id stands twice in it.
    """
    parts = []
    for lists in sources:
        part = load_lists(lists.source)[lists.select()]
        require_ranked(part, lists.source)
        parts.append(part)
    rows = parts[0] if len(parts) == 1 else [_renamed(row, number) for number, part in enumerate(parts) for row in part]
    return rows, [len(part) for part in parts]


def _renamed(row: Ranking, number: int) -> Ranking:
    """One instruction may have a list in several files."""
    return row.model_copy(update={"id": f"{number}/{row.id}"})


def _require_imitated(rows: Sequence[Ranking], settings: Train) -> None:
    """Say how many lists have no reference where references are imitated; refuse rows that have none at all."""
    if settings.mle_weight == 0 or settings.loss == "rrhf" or settings.imitate not in (None, "reference"):
        return
    without = sum(not (row.reference or "").strip() for row in rows)
    if without == len(rows):
        raise DataError(
            settings.rankings[0].source,
            found=f"no reference in any of {len(rows)} lists, and mle_weight={settings.mle_weight:g}",
            fix="Set mle_weight=0 to rank alone, imitate=best to imitate the best responses, or add references.",
        )
    if without:
        console().print(f"      {without} of {len(rows)} lists have no reference: they train on their ranking alone")
