"""The loop of a training: steps, validation, checkpoints; goes on where a killed one stopped, to the same weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from faceloop.progress import ProgressReporter
from faceloop.training.checkpoints import Checkpoint, last_checkpoint, write_checkpoint
from faceloop.training.curve import CurveFile, Point, Step, Validation
from faceloop.training.learner import Batching, Learner, Reading, under
from faceloop.training.optimisers import clip_gradients, set_rate
from faceloop.training.schedule import rate_factor, warm_up_steps
from faceloop.training.validation import ValSplit
from facestore.errors import StageError

_STEP_SEEDS = 1_000_003  # steps and ranks that get a seed of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A micro-batch of gradient accumulation."""

    images: Tensor
    labels: Tensor
    confidences: Tensor


def fit(learner: Learner, reader: Reading, val: ValSplit, folder: Path, progress: ProgressReporter) -> list[Point]:
    """Train; afterwards `learner` holds the weights (the best of the validations where patience is set).

    Called by every rank. Returns the loss curve. Raises StageError for a loss that is not finite; the checkpoint
    before stays.
    """
    loop = _Loop(learner, reader, val, folder, progress)
    loop.resume()
    loop.run()
    return loop.curve.points


class _Loop:
    def __init__(
        self, learner: Learner, reader: Reading, val: ValSplit, folder: Path, progress: ProgressReporter
    ) -> None:
        self.learner, self.reader, self.val, self.folder, self.progress = learner, reader, val, folder, progress
        self.params, self.world = learner.params, learner.world
        self.per_epoch = reader.steps_per_epoch
        self.steps = self.per_epoch * self.params.schedule.epochs
        self.step = 0
        self.best: dict[str, Tensor] = {}
        self.curve = CurveFile(folder / "curve.jsonl", is_writer=self.world.is_first)
        is_half = self.params.amp == "fp16"
        self.scaler = torch.amp.GradScaler(self.world.device.type, enabled=is_half)

    def resume(self) -> None:
        found = last_checkpoint(self.folder, self.world)
        if found is not None:
            self.step = found.step
            self.learner.restore(found.shared, found.rows)
            self.best = under(found.shared, "best.")
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(dict(found.facts["scaler"]))  # type: ignore[arg-type]
            self.progress.say(f"train: goes on after step {self.step} of {self.steps}")
        self.curve.rewind(self.step)
        self.world.wait()
        self.curve.rewrite()

    def run(self) -> None:
        steps = iter(self.progress.track(range(self.step, self.steps), "train"))
        while self.step < self.steps and not self._is_enough():
            epoch, first = divmod(self.step, self.per_epoch)
            for batch in self.reader.batches(epoch, first):
                next(steps, None)
                self._take(epoch, batch)
            if self.step != (epoch + 1) * self.per_epoch:
                raise StageError(f"train: epoch {epoch} ended at step {self.step}; the release changed under it")
            self._validate(epoch)
            if self.step < self.steps:
                self._checkpoint_if_due()
        self._checkpoint()
        if self.best:
            self.learner.backbone.load_state_dict(self.best)

    def _take(self, epoch: int, batch: Batching) -> None:
        learner, optimiser = self.learner, self.learner.optimiser
        # What is random inside a step hangs on its number alone: no generator has to be kept for a resume.
        torch.manual_seed((self.params.seed * _STEP_SEEDS + self.step) * 1024 + self.world.rank)
        schedule = self.params.schedule
        warm = warm_up_steps(self.steps, schedule.warm_up_share)
        factor = rate_factor(self.step, steps=self.steps, warm_up_steps=warm, final=schedule.final_rate)
        set_rate(optimiser, factor)
        learner.backbone.train()  # frozen batch norms stay as they are
        optimiser.zero_grad(set_to_none=True)
        loss = self._accumulate(batch)
        self.scaler.unscale_(optimiser)
        norm = clip_gradients(
            [value for _, value in learner.named_backbone + learner.named_further],
            [value for _, value in learner.named_rows],
            largest=self.params.optimiser.clip_norm,
            world=self.world,
        )
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise self._not_finite(f"gradient norm of step {self.step + 1}", norm)
        self.scaler.step(optimiser)
        self.scaler.update()
        self.step += 1
        rate = factor * self.params.optimiser.learning_rate
        self.curve.add(
            Step(step=self.step, epoch=epoch, loss=loss, gradient_norm=norm if math.isfinite(norm) else None, rate=rate)
        )
        if self.step % self.per_epoch:  # after an epoch's last step comes its validation first
            self._checkpoint_if_due()

    def _accumulate(self, batch: Batching) -> float:
        """Gradients of the batch in `accumulate` parts, weighted so that they sum to those of one big batch."""
        total = self._weight(batch.confidences)
        loss = torch.zeros(())
        for place, part in enumerate(parts := list(_parts(batch, self.params.accumulate))):
            main, extra = self.learner.losses(part, is_last=place == len(parts) - 1)
            partial = main * (self._weight(part.confidences) / total) + extra / len(parts)
            # Every rank looks at the same sum: all stop, or none.
            seen = self.world.sum(partial.detach().float()).cpu() / self.world.ranks
            if not torch.isfinite(seen):
                raise self._not_finite(f"loss of step {self.step + 1}", float(seen))
            loss += seen
            self.scaler.scale(partial).backward()  # type: ignore[no-untyped-call]  # torch's own
        return float(loss)

    def _not_finite(self, what: str, value: float) -> StageError:
        return StageError(
            f"train: the {what} is {value}; the checkpoint before it is kept; lower train.optimiser.learning_rate, "
            "set train.optimiser.clip_norm, or train.amp to off"
        )

    def _weight(self, confidences: Tensor) -> float:
        """What samples of all ranks weigh together in the classifier's mean."""
        weights = confidences if self.params.loss.is_weighted else torch.ones_like(confidences)
        return float(self.world.sum(weights.double().sum().to(self.world.device)))

    def _validate(self, epoch: int) -> None:
        if not len(self.val):
            return
        now = None
        if self.world.is_first:
            found = self.val.verify(self.learner.backbone, self.learner.preparation, self.world.device)
            now = Validation(
                step=self.step,
                epoch=epoch,
                tar=found.tar,
                far=found.far,
                genuine_pairs=found.genuine_pairs,
                impostor_pairs=found.impostor_pairs,
            )
        now = self.world.from_first(now)
        is_better = all(now.tar > before.tar for before in self.curve.validations())
        self.curve.add(now)
        self.progress.say(f"train: step {self.step}/{self.steps}, val TAR {now.tar:.4f} at FAR {now.far:.2g}")
        if is_better and self.params.schedule.patience:
            state = self.learner.backbone.state_dict()
            self.best = {name: value.detach().clone() for name, value in state.items()}

    def _is_enough(self) -> bool:
        """No validation of the last `patience` was better than the best before them."""
        patience, seen = self.params.schedule.patience, [one.tar for one in self.curve.validations()]
        return 0 < patience < len(seen) and max(seen[-patience:]) <= max(seen[:-patience])

    def _checkpoint_if_due(self) -> None:
        if self.step % self.params.checkpoint_every == 0:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self.curve.flush()
        best = {f"best.{name}": value for name, value in self.best.items()}
        state = Checkpoint(
            step=self.step,
            shared=self.learner.shared_state() | best,
            rows=self.learner.rows_state(),
            facts={"scaler": self.scaler.state_dict()},
        )
        write_checkpoint(self.folder, state, self.world)


def _parts(batch: Batching, parts: int) -> Iterator[_Part]:
    for images, labels, confidences in zip(
        batch.images.chunk(parts), batch.labels.chunk(parts), batch.confidences.chunk(parts), strict=True
    ):
        yield _Part(images=images, labels=labels, confidences=confidences)
