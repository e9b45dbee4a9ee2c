"""The stage `rl`: reinforcement learning against a proxy, as a baseline for training on lists.

The reward of a response is the score that the proxy gives it, and a penalty on the divergence from the start keeps the
model near it. RLOO (Ahmadian et al. 2024) and GRPO (Shao et al. 2024) compare the responses drawn to one instruction
with each other. All of that is TRL's (extra `baselines`); here are the settings, the checkpoints and the figures. PPO,
which TRL no longer has, stands in `ppo/`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from tunalm.calls.context import StageContext
from tunalm.data import load
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import device, load_model, load_tokenizer, resolve_model
from tunalm.errors import DataError, TrainingError
from tunalm.progress import progress
from tunalm.recipe import Reinforce
from tunalm.records import Instruction
from tunalm.store import Summary
from tunalm.training import checkpoints
from tunalm.training.course import course_of
from tunalm.training.fitting import Advance, in_bf16, publish, to_the_end
from tunalm.training.metrics import MetricsFile, reward_figures

CHECKPOINTS_KEPT = 2


def run_rl(settings: Reinforce, context: StageContext) -> Summary:
    """Train a model to get higher scores from a proxy.

    Returns:
        The instructions; `details` has the optimizer steps and the mean reward in the first and the last of them.

    Raises:
        DataError: the instructions cannot be read, or are too few for a step.
        ModelError: a model cannot be loaded.
        TrainingError: the extra is not installed, or a loss is not finite.
    """
    needed = "torchrl" if settings.method == "ppo" else "trl"
    if find_spec(needed) is None:
        raise TrainingError(
            "kind: rl",
            found=f"no package {needed}",
            expected="the extra `baselines`",
            fix="Run: pip install 'tunalm[baselines]'",
        )
    if settings.method == "ppo":
        from tunalm.training.ppo.run import run_ppo  # torchrl takes seconds to import

        return run_ppo(settings, context)
    rows, metrics = load(settings.data), context.folder / "metrics.jsonl"
    steps = course_of(len(rows), settings).all_steps
    if not steps:
        raise DataError(
            settings.data.source,
            found=f"{len(rows)} instructions",
            expected=f"{settings.batch_size} or more, for an optimizer step",
            fix="Lower batch_size.",
        )

    def make() -> None:
        trainer = _make_trainer(settings, rows, context, metrics)
        newest = checkpoints.newest_checkpoint(context.folder / "checkpoints")
        trainer.remove_callback(PrinterCallback)
        with progress("reinforcing", steps) as advance:
            trainer.add_callback(Advance(advance))
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        publish(trainer, context.folder / "model")

    to_the_end(context.folder, make)
    return Summary(requested=len(rows), ok=len(rows), details={"rows": len(rows), **reward_figures(metrics)})


def _make_trainer(settings: Reinforce, rows: list[Instruction], context: StageContext, metrics: Path) -> Any:
    trl: Any = import_module("trl")  # takes many seconds to import
    rloo = settings.method == "rloo"
    make, config = (trl.RLOOTrainer, trl.RLOOConfig) if rloo else (trl.GRPOTrainer, trl.GRPOConfig)
    remote = context.trust_remote_code
    tokenizer = load_tokenizer(settings.start, trust_remote_code=remote)
    encoder = PromptEncoder(tokenizer, settings.template, settings.start, settings.template_args)
    tokenizer.chat_template = encoder.template_text
    prompts = [{"prompt": [{"role": each.role, "content": each.text} for each in row.messages()]} for row in rows]
    return make(
        model=load_model(settings.start, precision="fp32", trust_remote_code=remote),
        reward_funcs=str(resolve_model(settings.reward)),
        args=config(
            output_dir=str(context.folder / "checkpoints"),
            num_generations=settings.num_responses,
            max_completion_length=settings.max_new_tokens,
            temperature=settings.temperature,
            beta=settings.kl_weight,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.num_responses,
            gradient_accumulation_steps=settings.batch_size,
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps if settings.max_steps > 0 else -1,
            bf16=in_bf16(settings.precision),
            use_cpu=device().type == "cpu",
            seed=settings.seed,
            save_strategy="steps",
            save_steps=0.1,
            save_total_limit=CHECKPOINTS_KEPT,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
        ),
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
        reward_processing_classes=load_tokenizer(settings.reward, trust_remote_code=remote),
        callbacks=[MetricsFile(metrics), _Seal()],
    )


class _Seal(TrainerCallback):
    """Declares a checkpoint complete once it is."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        checkpoints.seal(Path(str(args.output_dir)) / f"{checkpoints.PREFIX}{state.global_step}")
