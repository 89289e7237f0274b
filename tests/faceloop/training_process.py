"""`python -m tests.faceloop.training_process kill|elastic FOLDER`: trainings in processes that are forked, and killed.

torch is imported once; every attempt is a fork of this process. What was found is printed as JSON.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from faceloop.training import checkpoints
from faceloop.training.classes import ClassTable, succeed
from faceloop.training.curve import Step
from faceloop.training.ranks import World, joined, repeatable
from faceloop.training.train_params import TrainParams
from faceloop.training.turn import carry_on, remembered

from .training_world import TinyReader, fit_tiny, params_of, tiny_learner, weights_of

KILLS = 10
BEFORE, AFTER = tuple(range(1000)), (*range(999, 99, -1), *range(1500, 1900))  # identities of the two turns


def forked(work: Callable[[], None]) -> int:
    """Run it in a fork of this process; the signal that ended it, 0 for a good end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if os.WIFSIGNALED(ended):
        return os.WTERMSIG(ended)
    if os.waitstatus_to_exitcode(ended):
        raise SystemExit("a forked training failed")
    return 0


def _train(folder: Path, params: TrainParams, *, kill_at: int | None, kill_flush: int | None) -> None:
    """One attempt. `kill_at`: SIGKILL before this step; `kill_flush`: at this flush of checkpoint files."""
    flush, flushes = checkpoints._flush, [0]

    def die(step: int) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(path: Path) -> None:
        flushes[0] += 1
        if flushes[0] == kill_flush:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    checkpoints._flush = counted
    with repeatable(params, threads=1, device=World().device):
        learner = tiny_learner(params, classes=40)
        fit_tiny(learner, TinyReader(classes=40, steps_per_epoch=8, before_step=die), folder)
    save_file({name: value.contiguous() for name, value in weights_of(learner).items()}, folder / "weights")


def kill(folder: Path) -> dict[str, object]:
    """An unbroken training, and one that is killed ten times: at steps, and while it writes checkpoints."""
    params = params_of(
        "train.schedule.epochs=4", "train.checkpoint_every=3", "train.optimiser.kind=adamw",
        "train.loss.sample_rate=0.5", "train.accumulate=2",
    )  # fmt: skip
    for name in ("unbroken", "killed"):
        (folder / name).mkdir()
    forked(lambda: _train(folder / "unbroken", params, kill_at=None, kill_flush=None))
    chance = random.Random(23)
    steps = sorted(chance.sample(range(1, 32), KILLS - 3))
    plan = (
        [(step, None) for step in steps[:4]] + [(None, at) for at in (1, 3, 5)] + [(step, None) for step in steps[4:]]
    )
    signals = [forked(partial(_train, folder / "killed", params, kill_at=a, kill_flush=b)) for a, b in plan]
    forked(lambda: _train(folder / "killed", params, kill_at=None, kill_flush=None))
    one, other = (load_file(folder / name / "weights") for name in ("unbroken", "killed"))
    curves = [(folder / name / "curve.jsonl").read_text(encoding="utf-8") for name in ("unbroken", "killed")]
    return {
        "killed": sum(number == signal.SIGKILL for number in signals),
        "tensors": len(one),
        "different": [name for name in one if not torch.equal(one[name], other[name])],
        "is_same_curve": curves[0] == curves[1],
        "steps": curves[0].count("\n"),
    }


def _two_ranks(folder: Path, rank: int, params: TrainParams) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # this machine's name may lead nowhere
    store = f"file://{folder / 'store'}"
    with joined(rank, 2, device=torch.device("cpu"), init_method=store) as world:
        _first_turn(folder, params, world)


def _first_turn(folder: Path, params: TrainParams, world: World) -> None:
    """A function of its own: who still holds the learner when the group has gone may wait for ever (see `joined`)."""
    learner = tiny_learner(params, classes=len(BEFORE), world=world)
    reader = TinyReader(classes=len(BEFORE), batch_size=64, steps_per_epoch=120, world=world)
    points = fit_tiny(learner, reader, folder / "before")
    table, memory = remembered(learner, tuple(map(str, BEFORE)))
    if world.is_first:
        state = {f"state.{key}": value for key, value in table.state.items()}
        save_file({"centres": table.centres, **state}, folder / "classes")
        save_file({name: value.contiguous() for name, value in memory.items()}, folder / "memory")
        backbone = {name: value.contiguous() for name, value in learner.backbone.state_dict().items()}
        save_file(backbone, folder / "backbone")
        losses = [point.loss for point in points if isinstance(point, Step)]
        (folder / "losses.json").write_text(json.dumps(losses), encoding="utf-8")


def elastic(folder: Path) -> dict[str, object]:
    """1,000 classes on 2 ranks, then 1,300 on one: 900 stay in another order, 100 go, 400 come."""
    params = params_of("train.schedule.epochs=1", "train.optimiser.learning_rate=0.5", "train.optimiser.centres_rate=4")
    pids = []
    for rank in (0, 1):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _two_ranks(folder, rank, params)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(ends):
        raise SystemExit("a rank failed")
    stored = load_file(folder / "classes")
    before = ClassTable(
        identity_ids=tuple(map(str, BEFORE)),
        centres=stored["centres"],
        state={key.removeprefix("state."): value for key, value in stored.items() if key.startswith("state.")},
    )
    losses = {"before": json.loads((folder / "losses.json").read_bytes())}
    later = params_of("train.schedule.epochs=1", "train.optimiser.learning_rate=0.05", "train.optimiser.centres_rate=4")
    for name in ("resumed", "afresh"):
        learner = tiny_learner(later, classes=len(AFTER))
        learner.backbone.load_state_dict(load_file(folder / "backbone"))
        reader = TinyReader(classes=len(AFTER), identities=AFTER, batch_size=64, steps_per_epoch=20)
        if name == "resumed":
            sums = torch.zeros((len(AFTER), 16))
            learner.backbone.eval()
            with torch.no_grad():
                for batch in TinyReader(
                    classes=len(AFTER), identities=AFTER, batch_size=64, steps_per_epoch=60
                ).batches(9):
                    vectors = learner.backbone(learner.preparation.pixels(batch.images))
                    sums.index_add_(0, batch.labels, torch.nn.functional.normalize(vectors, dim=1))
            table, found = succeed(before, tuple(map(str, AFTER)), sums, sub_centres=1, seed=1)
            learner.classifier.load_centres(table.centres)
            carry_on(learner, load_file(folder / "memory"), table)
            kept = torch.equal(learner.classifier.centres[:900].detach(), before.centres.flip(0)[:900])
        losses[name] = [point.loss for point in fit_tiny(learner, reader, folder / name) if isinstance(point, Step)]
    return {"losses": losses, "kept": found.kept, "new": found.new, "gone": found.gone, "is_kept_to_the_bit": kept}


if __name__ == "__main__":
    torch.set_num_threads(1)
    import_module("torch._dynamo")  # what the first step of an optimiser imports; once, not in every fork
    print(json.dumps({"kill": kill, "elastic": elastic}[sys.argv[1]](Path(sys.argv[2]))))  # noqa: T201
