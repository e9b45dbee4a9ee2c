"""One training run: settings and rows in, a saved model out.

    OUT/checkpoints/    while it trains; a run that was killed resumes from the newest complete one
    OUT/metrics.jsonl   a line per optimizer step
    OUT/training.json   what became of the rows
    OUT/adapter/        the adapters alone, if it trained any
    OUT/model/          a plain Hugging Face folder, renamed when it is whole, so it exists or it does not

Weights are kept and saved in float32, also where the source was bfloat16 and the arithmetic is: an update at a learning
rate of 1e-5 is smaller than half a step between neighbouring bfloat16 numbers and would be lost in the rounding.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, cast

import transformers
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_callback import PrinterCallback

from tunalm.engines.huggingface import device, fast_bf16, load_tokenizer, quiet_transformers
from tunalm.progress import is_main_process, progress
from tunalm.recipe import Training
from tunalm.records import Ranking
from tunalm.store import Summary, write_json
from tunalm.training.batches import optimizer_steps
from tunalm.training.checkpoints import CheckpointTimes, full_disk_explained, partial_folder, settle
from tunalm.training.heads import unwrapped
from tunalm.training.metrics import MetricsFile, read_metrics
from tunalm.training.trainer import RankingConfig, RankingTrainer


def in_bf16(precision: Literal["auto", "fp32", "bf16"]) -> bool:
    """Whether to compute in bf16. `auto` does so on GPUs alone: what bf16 does to v is larger than the paper's margin
    (docs/training.md)."""
    return precision == "bf16" or (precision == "auto" and device().type != "cpu" and fast_bf16())


@dataclass(frozen=True)
class TrainingRun:
    """What is trained on what, and where it is kept."""

    settings: Training
    source: str
    """The model to start from."""
    rows: Sequence[Ranking]
    """Lists; those without responses train their reference alone."""
    objective: dict[str, Any]
    """Arguments of `RankingConfig` that say what is learned."""
    out: Path
    trust_remote_code: bool = False
    trainer: type[RankingTrainer] = RankingTrainer
    measure: Callable[[Any], dict[str, Any]] = lambda trainer: {}
    """What is found out about the trained model and kept in `details`; all processes take part."""

    def __call__(self) -> Summary:
        """Train and publish the model, or find that this was done before."""
        to_the_end(self.out, self._make)
        details = json.loads((self.out / "training.json").read_text(encoding="utf-8"))
        return Summary(requested=details["trained"], ok=details["trained"], details=details)

    def _make(self) -> None:
        trainer = self._trainer()
        self._train(trainer)
        measured = self.measure(trainer)
        if is_main_process():
            write_json(self.out / "training.json", self._counts(trainer) | measured)
        self._publish(trainer)

    def _trainer(self) -> RankingTrainer:
        transformers.set_seed(self.settings.seed)
        tokenizer = load_tokenizer(self.source, trust_remote_code=self.trust_remote_code)
        model = self.trainer.load(self.source, self.trust_remote_code)
        model.requires_grad_(True)  # adapters that were merged into it leave it frozen
        if self.settings.lora_rank:
            model = self._with_adapters(model)
        return self.trainer(
            model=model,
            args=self._config(),
            train_dataset=self.rows,
            processing_class=tokenizer,
            callbacks=[MetricsFile(self.out / "metrics.jsonl")],
            where=self.source,
        )

    def _config(self) -> RankingConfig:
        settings = self.settings
        return RankingConfig(
            output_dir=str(self.out / "checkpoints"),
            **self.objective,
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
            bf16=in_bf16(settings.precision),
            activation_checkpointing=settings.gradient_checkpointing,
            activation_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
            save_strategy="steps" if settings.save_steps else "no",
            save_steps=settings.save_steps or 500,
            logging_steps=settings.logging_steps,
            report_to=settings.report_to or "none",
            run_name=f"{self.out.absolute().parent.name}/{self.out.name}",
            project="tunalm",
            seed=settings.seed,
            use_cpu=device().type == "cpu",
            disable_tqdm=True,
            log_level="error",
            log_level_replica="error",
            ddp_find_unused_parameters=False,
        )

    def _with_adapters(self, model: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=self.settings.lora_rank,
            lora_alpha=self.settings.lora_alpha,
            lora_dropout=self.settings.lora_dropout,
            target_modules="all-linear",
            task_type=self.trainer.adapters,
        )
        return get_peft_model(model, config)

    def _train(self, trainer: RankingTrainer) -> None:
        """Train to the end, from the newest complete checkpoint on, behind a single progress bar."""
        trainer.remove_callback(PrinterCallback)
        settings = self.settings
        steps = optimizer_steps(
            len(trainer.encoded.groups), settings.batch_size, settings.epochs, max_steps=settings.max_steps
        )
        if not settings.save_steps:
            trainer.add_callback(CheckpointTimes(steps))
        with progress("training", steps) as advance:
            trainer.add_callback(Advance(advance))
            trainer.train(resume_from_checkpoint=True)

    def _publish(self, trainer: RankingTrainer) -> None:
        """Save what was trained, and with adapters the model that has them merged in. All processes take part."""
        unwrapped(trainer.model).config.use_cache = True
        if trainer.is_fsdp_enabled:
            trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
        publish(trainer, self.out / ("adapter" if self.settings.lora_rank else "model"))
        if self.settings.lora_rank:
            if is_main_process():
                self._merge(trainer, self.out / "adapter", self.out / "model")
            trainer.accelerator.wait_for_everyone()

    def _merge(self, trainer: RankingTrainer, adapter: Path, folder: Path) -> None:
        """Save the model with the adapters added to its weights, from the files: the trained one may be sharded."""
        from peft import PeftModel

        base = self.trainer.load(self.source, self.trust_remote_code)
        merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
        if merged.can_generate():
            merged.generation_config = unwrapped(trainer.model).generation_config
        draft = partial_folder(folder)
        merged.save_pretrained(draft)
        cast(Any, trainer.processing_class).save_pretrained(draft)
        settle(draft, folder)

    def _counts(self, trainer: RankingTrainer) -> dict[str, Any]:
        """What the report tells about a training stage; `seconds_per_step` is a median, `tokens` are those read, the
        live share is a mean over the steps (see `observe_batch`)."""
        encoded, lines = trainer.encoded, read_metrics(self.out / "metrics.jsonl")
        return {
            "rows": len(self.rows),
            "trained": len(encoded.groups),
            "dropped": len(encoded.dropped),
            "idle": len(encoded.idle),
            "unranked": len(encoded.unranked),
            "imitated": sum(group.imitated(trainer.args.imitate) is not None for group in encoded.groups),
            "cut": len(encoded.cut),
            "steps": lines[-1]["step"] if lines else 0,
            "tokens": round(sum(line["tokens"] for line in lines)),
            "seconds_per_step": round(median(line["seconds"] for line in lines), 3) if lines else 0.0,
            "loss": lines[-1]["loss"] if lines else None,
            **({"live_fraction": round(fmean(line["live_fraction"] for line in lines), 3)} if lines else {}),
        }


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


def publish(trainer: Any, folder: Path) -> None:
    """Save a finished model under a name that nobody reads, then rename it. All processes take part."""
    draft = partial_folder(folder)
    trainer.save_model(str(draft))
    if is_main_process():
        (draft / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        settle(draft, folder)
    trainer.accelerator.wait_for_everyone()


def to_the_end(out: Path, make: Callable[[], None]) -> None:
    """Make the folder `out/model` unless that was done before; checkpoints on the way to it are then of no use."""
    if not (out / "model").is_dir():
        with quiet_transformers(), full_disk_explained(out):
            make()
    if is_main_process():
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
