"""The stages `sft` and `train`, and what all training stages share: settings in, a saved model out.

A stage folder holds `checkpoints/` while it is trained, `metrics.jsonl`, and `model/` once it is done. `model/` is
written under another name and renamed when it is whole, so it exists or it does not; a run that was killed goes on from
its newest complete checkpoint and ends at the same weights.

Weights are kept and saved in float32, also where the source was bfloat16 and the arithmetic is: an update at a learning
rate of 1e-5 is smaller than half a step between neighbouring bfloat16 numbers and would be lost in the rounding.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, cast

import transformers
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging

from tunalm.calls.context import StageContext
from tunalm.data import imitated, load, require_references
from tunalm.data.lists import load_lists
from tunalm.engines.huggingface import device, fast_bf16, load_model, load_tokenizer
from tunalm.errors import DataError, StoreError
from tunalm.progress import console, is_main_process, progress
from tunalm.recipe import Lists, Sft, Train, Training
from tunalm.recipe.training import BETAS
from tunalm.records import Instruction, Ranking
from tunalm.store import Summary, digest, sync_folder, write_json
from tunalm.training.batches import optimizer_steps
from tunalm.training.checkpoints import CheckpointTimes, full_disk_explained, sync_tree
from tunalm.training.encoding import Encoded, Imitate
from tunalm.training.heads import unwrapped
from tunalm.training.metrics import MetricsFile, read_metrics
from tunalm.training.trainer import RankingConfig, RankingTrainer


@dataclass(frozen=True)
class ModelKind:
    """What kind of model a stage trains."""

    load: Callable[[str, bool], Any]
    """Loads it in float32 from a source; the flag allows it to run code of its own."""
    trainer: type[RankingTrainer]
    adapters: Literal["CAUSAL_LM", "SEQ_CLS"]
    """The task for which peft puts adapters on it."""
    measure: Callable[[RankingTrainer], dict[str, Any]] = lambda trainer: {}
    """What is found out about the trained model and kept in `details`; all processes take part."""


def _load_language_model(source: str, trust_remote_code: bool) -> Any:
    return load_model(source, precision="fp32", trust_remote_code=trust_remote_code)


LANGUAGE_MODEL = ModelKind(_load_language_model, RankingTrainer, "CAUSAL_LM")


def sft(rows: Sequence[Instruction], settings: Sft, out: Path, *, trust_remote_code: bool = False) -> Summary:
    """Fine-tune a base model on instructions and references (Eq. 1-2).

    Args:
        rows: with a reference each; `settings.data` is not read.
        settings: of the stage.
        out: a folder of this training alone; the model lies in `out/model`. A call that was killed is resumed by the
            same call.
        trust_remote_code: whether the model may run code of its own.

    Returns:
        Rows as `train` counts them.

    Raises:
        DataError: a row has no reference, or no row fits.
        ModelError: the model or its template cannot be used.
        StoreError: `out` holds another training.
        TrainingError: a loss that is not finite.
    """
    require_references(rows, settings.data.source)
    references = _as_lists(rows)
    _claim(out, settings, references)
    return run_training(settings, settings.model, references, {}, out, trust_remote_code=trust_remote_code)


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
    _require_lists(rows, settings.rankings[0].source)
    _require_imitated(rows, settings)
    _claim(out, settings, rows)
    return run_training(settings, settings.start, rows, _objective(settings), out, trust_remote_code=trust_remote_code)


def run_sft(settings: Sft, context: StageContext) -> Summary:
    """The stage `sft`: read the rows, then as the function `sft`, which says what is returned and raised."""
    instructions = load(settings.data)
    require_references(instructions, settings.data.source)
    rows = _as_lists(instructions)
    if settings.responses is not None:
        rows += imitated(load_lists(settings.responses))
    return run_training(settings, settings.model, rows, {}, context.folder, trust_remote_code=context.trust_remote_code)


def run_train(settings: Train, context: StageContext) -> Summary:
    """The stage `train`: read the lists, then as the function `train`; `details` has the `lists` of each source."""
    rows, parts = read_lists(settings.rankings)
    _require_imitated(rows, settings)
    summary = run_training(
        settings,
        settings.start,
        rows,
        _objective(settings),
        context.folder,
        trust_remote_code=context.trust_remote_code,
    )
    return replace(summary, details={"lists": parts, **summary.details})


def _as_lists(rows: Sequence[Instruction]) -> list[Ranking]:
    return [Ranking.model_validate({**row.model_dump(), "responses": []}) for row in rows]


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
        "anchor": settings.anchor,
        "keep_ties": settings.tied_lists == "keep",
    }


def _claim(out: Path, settings: Training, rows: Sequence[Ranking]) -> None:
    """Make a folder the one of this training, or find that it is.

    Raises:
        StoreError: it is that of another one.
    """
    known = settings.model_dump(mode="json", exclude={"report_to", "save_steps", "logging_steps"})
    identity = digest({"settings": known, "rows": [row.model_dump(mode="json") for row in rows]})
    mark = out / "trained_on.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8"))["sha256"] != identity:
        raise StoreError(
            out,
            found="a training on other rows or with other settings",
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
        _require_lists(part, lists.source)
        parts.append(part)
    rows = parts[0] if len(parts) == 1 else [_renamed(row, number) for number, part in enumerate(parts) for row in part]
    return rows, [len(part) for part in parts]


def _renamed(row: Ranking, number: int) -> Ranking:
    """One instruction may have a list in several files."""
    return row.model_copy(update={"id": f"{number}/{row.id}"})


def _require_lists(rows: Sequence[Ranking], where: str) -> None:
    """Refuse rows of which no list can be ranked."""
    twice = [row_id for row_id, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise DataError(where, found=f"the id '{twice[0]}' in two rows", fix="Give every row an id of its own.")
    longest = max((sum(response.rank is not None for response in row.responses) for row in rows), default=0)
    if longest < 2:
        raise DataError(
            where,
            found=f"{len(rows)} rows, none of which has two ranked responses",
            fix="Sample with num_responses of 2 or more and rank them, or use `sft` to learn from references alone.",
        )


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


def run_training(
    settings: Training,
    source: str,
    rows: Sequence[Ranking],
    objective: dict[str, Any],
    out: Path,
    kind: ModelKind = LANGUAGE_MODEL,
    *,
    trust_remote_code: bool = False,
) -> Summary:
    """Train on rows and publish the model, or find that this was done before.

    Args:
        settings: of the stage.
        source: the model to start from.
        rows: ranked lists; those without responses train their reference alone.
        objective: arguments of `RankingConfig` that say what is learned.
        out: folder of this training.
        kind: of the model.
        trust_remote_code: whether the model may run code of its own.
    """
    record = out / "training.json"
    if not (out / "model").is_dir():
        with quiet_transformers(), full_disk_explained(out):
            trainer = _make_trainer(settings, source, rows, objective, out, kind, trust_remote_code)
            _train(trainer, settings)
            measured = kind.measure(trainer)
            if is_main_process():
                counts = _counts(len(rows), trainer.encoded, trainer.args.imitate, out / "metrics.jsonl")
                write_json(record, counts | measured)
            _publish(trainer, settings, source, out, kind, trust_remote_code)
    if is_main_process():
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    details = json.loads(record.read_text(encoding="utf-8"))
    return Summary(requested=details["trained"], ok=details["trained"], details=details)


def _make_trainer(
    settings: Training,
    source: str,
    rows: Sequence[Ranking],
    objective: dict[str, Any],
    out: Path,
    kind: ModelKind,
    trust_remote_code: bool,
) -> RankingTrainer:
    transformers.set_seed(settings.seed)
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
    model = kind.load(source, trust_remote_code).requires_grad_(True)  # adapters that were merged leave it frozen
    if settings.lora_rank:
        model = _with_adapters(model, settings, kind)
    return kind.trainer(
        model=model,
        args=_config(settings, objective, out / "checkpoints"),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[MetricsFile(out / "metrics.jsonl")],
        where=source,
    )


def _config(settings: Training, objective: dict[str, Any], folder: Path) -> RankingConfig:
    return RankingConfig(
        output_dir=str(folder),
        **objective,
        template=settings.template,
        template_args=settings.template_args,
        keep_reasoning=settings.keep_reasoning,
        max_length=settings.max_length,
        batch_size=settings.batch_size,
        token_budget=settings.token_budget,
        attention=settings.attention,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps if settings.max_steps > 0 else -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        adam_beta1=0.9,
        adam_beta2=0.999,
        bf16=settings.precision == "bf16" or (settings.precision == "auto" and fast_bf16()),
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        save_strategy="steps" if settings.save_steps else "no",
        save_steps=settings.save_steps or 500,
        logging_steps=settings.logging_steps,
        report_to=settings.report_to or "none",
        seed=settings.seed,
        use_cpu=device().type == "cpu",
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        ddp_find_unused_parameters=False,
    )


def _with_adapters(model: Any, settings: Training, kind: ModelKind) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type=kind.adapters,
    )
    return get_peft_model(model, config)


def _train(trainer: RankingTrainer, settings: Training) -> None:
    """Train to the end, from the newest complete checkpoint on, behind a single progress bar."""
    trainer.remove_callback(PrinterCallback)
    steps = optimizer_steps(
        len(trainer.encoded.groups), settings.batch_size, settings.epochs, max_steps=settings.max_steps
    )
    if not settings.save_steps:
        trainer.add_callback(CheckpointTimes(steps))
    with progress("training", steps) as advance:
        trainer.add_callback(Advance(advance))
        trainer.train(resume_from_checkpoint=True)


class Advance(transformers.TrainerCallback):
    """Moves the progress bar."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the steps that were taken before a break."""
        self.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step."""
        self.advance(1)


def _publish(
    trainer: RankingTrainer, settings: Training, source: str, out: Path, kind: ModelKind, trust_remote_code: bool
) -> None:
    """Save the finished model under a name that nobody reads, then rename it. All processes take part."""
    unwrapped(trainer.model).config.use_cache = True
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    name = "adapter" if settings.lora_rank else "model"
    draft = partial_folder(out / name)
    trainer.save_model(str(draft))
    if is_main_process():
        (draft / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        settle(draft, out / name)
        if settings.lora_rank:
            merged = partial_folder(out / "model")
            _merge(trainer, source, out / "adapter", merged, kind, trust_remote_code)
            settle(merged, out / "model")
    trainer.accelerator.wait_for_everyone()


def partial_folder(folder: Path) -> Path:
    """Where a folder is written that shall be whole or absent."""
    return folder.with_name(f".{folder.name}.partial")


def settle(draft: Path, folder: Path) -> None:
    """Give a folder that is whole, and on disk, its name, and its files the permissions of any new file."""
    probe = draft / ".new"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(mode)  # safetensors writes files that only their owner may read
    sync_tree(draft)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(draft, folder)
    sync_folder(folder.parent)


def _merge(
    trainer: RankingTrainer, source: str, adapter: Path, folder: Path, kind: ModelKind, trust_remote_code: bool
) -> None:
    """Save the base model with the adapters added to its weights, from the files: the trained one may be sharded."""
    from peft import PeftModel

    base = kind.load(source, trust_remote_code)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    if merged.can_generate():
        merged.generation_config = unwrapped(trainer.model).generation_config
    merged.save_pretrained(folder)
    cast(Any, trainer.processing_class).save_pretrained(folder)


def _counts(rows: int, encoded: Encoded, imitate: Imitate | None, metrics: Path) -> dict[str, Any]:
    """What the report tells about a training stage; `seconds_per_step` is a median, `tokens` are those read, the live
    share is a mean over the steps (see `observe_batch`)."""
    lines = read_metrics(metrics)
    return {
        "rows": rows,
        "trained": len(encoded.groups),
        "dropped": len(encoded.dropped),
        "idle": len(encoded.idle),
        "unranked": len(encoded.unranked),
        "imitated": sum(group.imitated(imitate) is not None for group in encoded.groups),
        "cut": len(encoded.cut),
        "steps": lines[-1]["step"] if lines else 0,
        "tokens": round(sum(line["tokens"] for line in lines)),
        "seconds_per_step": round(median(line["seconds"] for line in lines), 3) if lines else 0.0,
        "loss": lines[-1]["loss"] if lines else None,
        **{name: round(fmean(line[name] for line in lines), 3) for name in ("live_fraction",) if lines},
    }


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Leave speaking to us: no bars, log lines or deprecation warnings of transformers and its kin."""
    shown, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(shown)
        if bars:
            transformers_logging.enable_progress_bar()
