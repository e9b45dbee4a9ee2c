"""The trainer: transformers' own, with the Tuna objective, its own denominator and checkpoints that survive a kill.

transformers divides a loss by the label tokens it finds in an optimizer step, or by the number of micro-batches. Here
the denominators are the lists and target tokens of the step over all micro-batches and processes (`get_batch_samples`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import transformers
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from tunalm.data.prompts import PromptEncoder
from tunalm.errors import TrainingError
from tunalm.progress import console
from tunalm.records import Ranking
from tunalm.training import checkpoints
from tunalm.training.batches import StepSampler
from tunalm.training.encoding import Group, encode_rows
from tunalm.training.layouts import Batch, Layout, collate
from tunalm.training.logprobs import sequence_logprobs, shared_layout_fits, unwrapped
from tunalm.training.losses import Convention
from tunalm.training.metrics import Means, observe_batch
from tunalm.training.objective import Objective, share_of_step


@dataclass
class RankingConfig(transformers.TrainingArguments):
    """Arguments of `RankingTrainer`: those of transformers with the paper's defaults, and the knobs of the objective.

    Attributes:
        margin: m of Eq. 5.
        mle_weight: lambda of Eq. 6.
        convention: `paper`, or `lmops` for the loss of the authors' released trainer (see `objective.Objective`).
        template: the prompt; it is written into the tokenizer, so that it is saved with the model.
        max_length: tokens of prompt and response; see `encoding` for what happens to longer rows.
        layout: `shared` reads each prompt once per list, `padded` once per response; `auto` takes `shared` after a
            check that it gives this model's own numbers (a `shared` that is asked for is not checked).
        batch_size: instructions per optimizer step over all processes. It sets `gradient_accumulation_steps`; without
            it, that and `per_device_train_batch_size` decide.
    """

    margin: float = 0.1
    mle_weight: float = 1.0
    convention: Convention = "paper"
    template: Literal["chat", "alpaca"] = "chat"
    max_length: int = 512
    layout: Literal["auto", "shared", "padded"] = "auto"
    batch_size: int | None = None
    learning_rate: float = field(default=1e-5)
    num_train_epochs: float = field(default=1.0)
    lr_scheduler_type: str = field(default="cosine")
    warmup_steps: float = field(default=0.03)
    logging_steps: float = field(default=1)
    save_total_limit: int | None = field(default=2)

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self._n_gpu = min(self.n_gpu, 1)  # DataParallel would tear the rows of one list apart
        at_once = self.per_device_train_batch_size * self.world_size
        if self.batch_size is None:
            self.batch_size = at_once * self.gradient_accumulation_steps
        self.gradient_accumulation_steps = -(-self.batch_size // at_once)


class RankingTrainer(transformers.Trainer):
    """Trains a causal language model on ranked rows; rows without responses are plain SFT (Eq. 2).

    Checkpoints in `args.output_dir` are complete or absent (see `checkpoints`); `train(resume_from_checkpoint=...)`
    goes on from one and ends at the very weights of a run without a break.

    Args:
        model: a causal language model of transformers, or a peft model around one.
        args: see `RankingConfig`.
        train_dataset: ranked rows.
        processing_class: the model's tokenizer; it gets the chat template that is trained with.
        callbacks: as in transformers.
        optimizers: as in transformers.
        where: names the model in errors.

    Attributes:
        encoded: the rows as token ids, with the counts of what was cut and dropped.

    Raises:
        DataError: no row can be trained on.
        ModelError: the template does not suit the tokenizer or the rows.
    """

    args: RankingConfig
    model: Any
    objective: Objective
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: Any,
        args: RankingConfig,
        train_dataset: Sequence[Ranking],
        processing_class: Any,
        callbacks: list[transformers.TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        where: str = "model",
    ) -> None:
        encoder = PromptEncoder(processing_class, args.template, where)
        if args.template == "alpaca":
            processing_class.chat_template = encoder.template_text
        unwrapped(model).generation_config = transformers.GenerationConfig(
            bos_token_id=processing_class.bos_token_id,
            eos_token_id=list(encoder.stop_ids),
            pad_token_id=processing_class.pad_token_id,
        )
        self.encoder = encoder
        self.encoded = encode_rows(
            train_dataset,
            encoder,
            max_length=args.max_length,
            mle_weight=args.mle_weight,
            convention=args.convention,
        )
        self.objective = Objective(args.margin, args.mle_weight, args.convention)
        self._layout: Layout = "padded" if args.layout == "auto" else args.layout
        self._begin_line()
        self._rows_of_step: list[int] = []
        super().__init__(
            model=model,
            args=args,
            train_dataset=self.encoded.groups,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )

    # Batches

    def get_train_dataloader(self) -> DataLoader[Group]:
        """Micro-batches of this process, in the layout that suits the model."""
        if self.args.layout == "auto":
            self._layout = self._choose_layout()
        self._begin_line()
        groups = self.encoded.groups
        sampler = StepSampler(
            num_rows=len(groups),
            step_size=self.args.batch_size or 1,
            micro_batch_size=self.args.per_device_train_batch_size,
            processes=self.args.world_size,
            process=self.args.process_index,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )
        return DataLoader(
            list(enumerate(groups)),  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=partial(collate, layout=self._layout, pad_id=self.encoder.end_id),
        )

    def _choose_layout(self) -> Layout:
        groups = self.encoded.groups
        if all(len(group.targets) == 1 for group in groups):
            return "padded"
        if shared_layout_fits(self.model, groups, self.args.max_length):
            return "shared"
        console().print("      prompts are read once per response: this model cannot share them", markup=False)
        return "padded"

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """Take the micro-batches of one optimizer step.

        Returns:
            The micro-batches, and the denominators of the whole step over all processes: lists and target tokens, [2].
        """
        if self.state.global_step >= self.state.max_steps:  # the checkpoint was that of the last step
            num_batches = 0
        batches: list[Batch] = list(islice(epoch_iterator, num_batches))
        self._steps += 1
        self._rows_of_step = [row for batch in batches for row in batch["rows"].tolist()]
        return batches, self.accelerator.reduce(_denominators(batches).to(device), reduction="sum")

    # Objective

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """This micro-batch's share of the step's loss (see `objective`).

        Raises:
            TrainingError: it is not finite; the rows are named, and no weight has been changed by them.
        """
        if not isinstance(num_items_in_batch, torch.Tensor):
            num_items_in_batch = _denominators([inputs])
        lists, tokens = num_items_in_batch.tolist()
        logprobs = sequence_logprobs(model, inputs, self._layout)
        share = share_of_step(logprobs, inputs, self.objective, lists=lists, tokens=tokens)
        if not torch.isfinite(share.loss):
            self._stop(f"a loss of {share.loss.item()}", inputs["rows"].tolist())
        observe_batch(self._means, logprobs, share, inputs, self.objective.margin)
        # Gradients and logged losses are averaged over processes; shares are to be added.
        return share.loss * self.accelerator.num_processes

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Refuse a gradient that is not finite before the optimizer takes it."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if not self.args.fp16 and not torch.isfinite(torch.as_tensor(norm)):  # fp16: the scaler skips such a step
            self._stop(f"a gradient of norm {float(norm)}", self._rows_of_step)
        return norm

    def _stop(self, found: str, rows: list[int]) -> NoReturn:
        ids = [self.encoded.groups[row].id for row in rows]
        raise TrainingError(
            f"step {self.state.global_step + 1}",
            found=f"{found} in the rows {', '.join(ids)}",
            expected="a finite number",
            fix="Look at these rows with `tunalm preview`, lower the learning rate, or set precision=fp32.",
        )

    # Metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Complete the line of a step with its metrics, taken together over micro-batches and processes.

        `tokens` (read, prompts included, without padding) and `seconds` are per optimizer step.
        """
        if "loss" in logs:
            means = Means()
            for sums in gather_object([self._means.sums]):
                means.merge(sums)
            means.add("tokens", 0, self._steps)
            means.add("seconds", time.monotonic() - self._started, self._steps)
            logs.update(means.averages())
            self._begin_line()
        super().log(logs, start_time)

    def _begin_line(self) -> None:
        self._means, self._steps, self._started = Means(), 0, time.monotonic()

    # Checkpoints

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Train, as in transformers; `True` goes on from the newest complete checkpoint if there is one."""
        if resume_from_checkpoint is True:
            with self.args.main_process_first(local=False):
                newest = checkpoints.newest_checkpoint(Path(str(self.args.output_dir)))
            resume_from_checkpoint = str(newest) if newest else None
        return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save as transformers does, then declare the checkpoint complete, then remove older ones."""
        folder = Path(str(self.args.output_dir))
        checkpoint = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        keep, self.args.save_total_limit = self.args.save_total_limit, None
        if self.args.should_save:
            checkpoints.discard(checkpoint)
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = keep
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoints.seal(checkpoint)
            if keep:
                checkpoints.prune(folder, keep)


def _denominators(batches: Sequence[Batch]) -> torch.Tensor:
    """Lists and target tokens of some batches, [2]."""
    counts = [[len(batch["rows"]), len(batch["targets"])] for batch in batches]
    return torch.tensor(counts, dtype=torch.float32).reshape(-1, 2).sum(0)
