"""The trainer: transformers' own, with the Tuna objective, its own denominator and checkpoints that survive a kill.

For transformers every batch is a whole optimizer step: the rows of a step are packed into as many micro-batches as the
budget of tokens asks for, which differs from step to step, and `training_step` goes through them. The denominators of
the loss are those of the step over all micro-batches and processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from accelerate.utils import gather_object
from torch.utils.data import DataLoader, Dataset
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import load_model
from tunalm.errors import DataError, TrainingError
from tunalm.progress import console, progress
from tunalm.recipe import PromptTemplate
from tunalm.records import Ranking
from tunalm.training import checkpoints
from tunalm.training.batches import StepRows, StepSampler, default_budget, pack
from tunalm.training.encoding import Group, Imitate, MarginFrom, encode_rows
from tunalm.training.heads import unwrapped
from tunalm.training.losses import Convention
from tunalm.training.metrics import Means, observe_batch
from tunalm.training.objective import Objective, RankingLoss
from tunalm.training.other_losses import Pairs
from tunalm.training.routes import Asked, ReadSequences, Route, RouteChoice, choose_route
from tunalm.training.step import ranking_step, reading, sequence_logprobs


@dataclass
class RankingConfig(transformers.TrainingArguments):
    """Arguments of `RankingTrainer`: those of transformers with the paper's defaults, and the knobs of the objective.

    Attributes:
        margin: m of Eq. 5.
        mle_weight: lambda of Eq. 6.
        convention: `paper`, or `lmops` for the loss of the authors' released trainer (see `objective.Objective`).
        ranking_loss: what stands in the place of Eq. 4-5, with `beta` and `pairs`, for comparison (likewise).
        imitate: what L_MLE imitates, see `encoding.Group.imitated`; None: nothing.
        margin_from: `rank`, or `score`: the margin grows with the difference of scores in place of ranks.
        anchor: `start`: Eq. 5 looks at v minus its value under the model that training starts from.
        min_imitated_score: the best response of a list is imitated only if its score is not below this.
        keep_ties: whether lists without a pair stay for what they have to imitate.
        template: the prompt, with the arguments `template_args` of a chat template; it is written into the tokenizer,
            so that it is saved with the model.
        keep_reasoning: whether thoughts are learned before the text that they led to.
        max_length: tokens of prompt and response; see `encoding` for what happens to longer rows.
        attention: how sequences are read; see `routes`. `auto` takes the fastest route that gives this model's own
            numbers, a name is tried first.
        token_budget: tokens of a forward pass with gradients, per process; a list that has more is read alone. None is
            `batches.default_budget`.
        batch_size: instructions per optimizer step over all processes; without it the product of
            `per_device_train_batch_size`, `gradient_accumulation_steps` and the number of processes. How a step is
            split is decided by `token_budget`.
    """

    margin: float = 0.1
    mle_weight: float = 1.0
    convention: Convention = "paper"
    ranking_loss: RankingLoss = "margin"
    beta: float = 1.0
    pairs: Pairs = "all"
    imitate: Imitate | None = "reference"
    margin_from: MarginFrom = "rank"
    anchor: Literal["none", "start"] = "none"
    min_imitated_score: float | None = None
    keep_ties: bool = True
    template: PromptTemplate | None = None
    template_args: dict[str, Any] = field(default_factory=dict)
    keep_reasoning: bool = False
    max_length: int = 512
    attention: Asked = "auto"
    token_budget: int | None = None
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
        if self.batch_size is None:
            at_once = self.per_device_train_batch_size * self.world_size
            self.batch_size = at_once * self.gradient_accumulation_steps
        self.gradient_accumulation_steps = 1  # a batch of the data loader is a whole step


class RankingTrainer(transformers.Trainer):
    """Trains a causal language model on ranked rows; rows without responses are plain SFT (Eq. 2).

    Checkpoints in `args.output_dir` are complete or absent (see `checkpoints`); `train(resume_from_checkpoint=...)`
    resumes from one and ends at the very weights of a run without a break.

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
        DataError: no row can be trained on, or one is longer than the model's positions.
        ModelError: the template does not suit the tokenizer or the rows.
    """

    args: RankingConfig
    model: Any
    objective: Objective
    read: ReadSequences = staticmethod(sequence_logprobs)
    """Gives the values of sequences that the loss looks at."""
    adapters = "CAUSAL_LM"
    """The task for which peft puts adapters on the model."""

    @staticmethod
    def load(source: str, trust_remote_code: bool) -> Any:
        """Load a model to train, in float32."""
        return load_model(source, precision="fp32", trust_remote_code=trust_remote_code)

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
        encoder = PromptEncoder(processing_class, args.template, where, args.template_args)
        if args.template in ("alpaca", "raw") or args.template_args:
            processing_class.chat_template = encoder.template_text
        if unwrapped(model).can_generate():
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
            imitate=args.imitate,
            keep_ties=args.keep_ties,
            margin_from=args.margin_from,
            min_imitated_score=args.min_imitated_score,
            keep_reasoning=args.keep_reasoning,
            convention=args.convention,
            rank=args.ranking_loss != "none",
        )
        _require_positions(model, self.encoded.groups, where)
        self.objective = Objective(
            args.margin,
            args.mle_weight,
            args.convention,
            args.ranking_loss,
            args.beta,
            args.pairs,
            args.imitate,
            anchored=args.anchor == "start",
        )
        self._token_budget = args.token_budget or default_budget(args.device.type)
        self._route: Route | None = None
        self._begin_line()
        super().__init__(
            model=model,
            args=args,
            train_dataset=self.encoded.groups,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )

    # Batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's part of every optimizer step, a step at a time."""
        self._begin_line()
        sampler = StepSampler(
            sizes=lambda: list(map(self.route.tokens, self.encoded.groups)),
            groups=self.encoded.groups,
            imitate=self.args.imitate,
            step_size=self.args.batch_size or 1,
            token_budget=self._token_budget,
            processes=self.args.world_size,
            process=self.args.process_index,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )
        return DataLoader(_Steps(), batch_sampler=sampler, collate_fn=dict)  # type: ignore[arg-type]

    @property
    def route(self) -> Route:
        """How the model reads its rows, found out when it is first needed; all processes need it at the same time."""
        if self._route is None:
            choice = self._choose_route()
            self._route = choice.route
            for reason in choice.refused:
                console().print(f"      attention not by {reason}", markup=False, soft_wrap=True)
        return self._route

    def _choose_route(self) -> RouteChoice:
        return choose_route(
            self.model_wrapped,
            self.encoded.groups,
            self.args.attention,
            read=self.read,
            pad_id=self.encoder.end_id,
            half_precision=bool(self.args.bf16 or self.args.fp16),
            largest=self._largest,
        )

    def values(self, groups: Sequence[Group], route: Route, description: str) -> list[list[float]]:
        """What `read` gives for the targets of each group: log p, or a score. All processes read all groups, as sharded
        weights ask for."""
        bins = pack(list(map(route.tokens, groups)), self._token_budget) if groups else []
        found: list[list[float]] = [[] for _ in groups]
        self.model.eval()
        by_route, precision = reading(self.model, route), self.accelerator.autocast()
        with progress(description, len(groups)) as advance, by_route, precision, torch.no_grad():
            for members in bins:
                part = [groups[member] for member in members]
                sums = iter(self.read(self.model_wrapped, part, route, self.encoder.end_id).sums.tolist())
                for member, group in zip(members, part, strict=True):
                    found[member] = [next(sums) for _ in group.targets]
                advance(len(members))
        return found

    def _note_start(self) -> None:
        """Give every target its log-probability under the weights that training starts from."""
        groups = self.encoded.groups
        for place, starts in enumerate(self.values(groups, self._choose_route().route, "starting points")):
            pairs = zip(groups[place].targets, starts, strict=True)
            targets = [replace(target, start_logprob=start) for target, start in pairs]
            groups[place] = replace(groups[place], targets=targets)

    def _largest(self, value: float) -> float:
        return max(gather_object([value])) if self.args.world_size > 1 else value

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], None]:
        """Take the next optimizer step; none when the checkpoint was that of the last step."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        return list(islice(epoch_iterator, num_batches)), None

    # Objective

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute the gradients of an optimizer step; `inputs` names its rows.

        Returns:
            The loss of this process's rows times the number of processes; transformers logs the mean over these.

        Raises:
            TrainingError: a loss is not finite; the rows are named, and no weight has been changed by them.
        """
        model.train()
        if callable(begin := getattr(self.optimizer, "train", None)):  # an optimizer without a schedule has modes, too
            begin()
        self._steps += 1
        step: StepRows = inputs["step"]
        self._rows_of_step = [row for rows in step.micro_batches for row in rows]
        total: torch.Tensor = torch.zeros((), device=self.args.device)
        for number, rows in enumerate(step.micro_batches, start=1):
            groups = [self.encoded.groups[row] for row in rows]
            try:
                with self._synchronised(last=number == len(step.micro_batches)):
                    found = ranking_step(
                        model,
                        groups,
                        self.objective,
                        step.size,
                        route=self.route,
                        pad_id=self.encoder.end_id,
                        backward=self._backward,
                        read=self.read,
                    )
            except FloatingPointError as error:
                raise self._not_finite(str(error), rows) from None
            observe_batch(self._means, found, groups, self.objective.margin)
            total += found.share.loss
        return torch.mul(total, self.accelerator.num_processes)

    def _backward(self, loss: torch.Tensor) -> None:
        """Gradients are averaged over processes; shares of a step are to be added."""
        self.accelerator.backward(loss * self.accelerator.num_processes)

    @contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:
        """Let processes exchange gradients in the last pass of a step only."""
        self.accelerator.gradient_state._set_sync_gradients(last)
        if last:
            yield
        else:
            with self.accelerator.no_sync(self.model_wrapped):
                yield

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Refuse a gradient that is not finite before the optimizer takes it."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if not self.args.fp16 and not torch.isfinite(torch.as_tensor(norm)):  # fp16: the scaler skips such a step
            raise self._not_finite(f"a gradient of norm {float(norm)}", self._rows_of_step)
        return norm

    def _not_finite(self, found: str, rows: list[int]) -> TrainingError:
        ids = [self.encoded.groups[row].id for row in rows]
        return TrainingError(
            f"step {self.state.global_step + 1}",
            found=f"{found} in the rows {', '.join(ids)}",
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
        """Train, as in transformers; `True` resumes from the newest complete checkpoint if there is one."""
        if resume_from_checkpoint is True:
            with self.args.main_process_first(local=False):
                newest = checkpoints.newest_checkpoint(Path(str(self.args.output_dir)))
            resume_from_checkpoint = str(newest) if newest else None
        if self.objective.loss == "dpo" or self.objective.anchored:
            self._note_start()
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


class _Steps(Dataset[dict[str, StepRows]]):
    """A data set whose batches are what the sampler yields."""

    def __getitems__(self, step: StepRows) -> dict[str, StepRows]:
        return {"step": step}


def _require_positions(model: Any, groups: Sequence[Group], where: str) -> None:
    """Refuse rows that are longer than a model's positions."""
    config = unwrapped(model).config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    lengths = {group.id: len(group.prompt) + max(len(target.tokens) for target in group.targets) for group in groups}
    longest = max(lengths, key=lengths.__getitem__)
    if positions is not None and lengths[longest] > positions:
        raise DataError(
            where,
            found=f"{positions} positions, and {lengths[longest]} tokens in row {longest}",
            fix=f"Set max_length={positions}: longer responses are cut, longer prompts dropped, and both are counted.",
        )
