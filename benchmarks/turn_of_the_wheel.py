"""One turn of the wheel on real photos made hard: auto-labels train a model, the model labels better, or not.

    python -m benchmarks.turn_of_the_wheel PHOTOS PACK OUT [--truth-except FILE] [--threads N]

PHOTOS holds one folder a person, PACK is the recogniser to begin with (a pack folder, or an .onnx of MobileFaceNet
that takes RGB as (x - 127.5) / 128), OUT is a new folder. People fall into two halves by the sha256 of their folder's
name. Half A: each photo is a track of one clear and several hard views; clusters of these tracks, without a truth, are
the labels that `train` learns from. Half B, other people, is seen by the hard camera alone: its faces are clustered by
the old model, the model is switched, and they are clustered again. Truth is read only to score.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from benchmarks.hard_footage import Camera, clear_crops, see_again
from benchmarks.turn_measures import Compared, Int64Array, ask, compare_clusters, compare_pairs, purity

from faceloop.decision_tables import export_decisions
from faceloop.migration import finish, plan_switch
from faceloop.params import default_params_path, read_params, section
from faceloop.progress import SilentProgress
from faceloop.questions.oracle import Progress, questions_to_reach
from faceloop.reports.material import read_boxes
from faceloop.reports.truth import TruthSpec, know
from faceloop.runner import Workspace, open_workspace, run_stage
from faceloop.stages.embed import Params as EmbedParams
from faceloop.training.hard_domain import FAR_CAMERA
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.model_files import sha256_of
from facestore.records import Cluster, Face, Footage, ReleaseSample
from facestore.tables import read_table

matplotlib.use("agg")

VIEWS = 8  # hard ones of each photo of half A, beside the clear one
SEED = 1
ASKED: Final = {"questions": 400, "batch": 10, "seeds": 1}
TARGETS = (0.8, 0.9, 0.95, 0.99)
FIXED = (
    "ingest.subset_from=source",  # the folder is the answer: no stage may see it as a subset
    "cluster.min_quality=0.0",  # everything here is of low quality: leaving it out would measure nothing
    "cluster.full_above_share=0.0",
    "pack.test_share=0.0",  # half B is the test
    "pack.val_share=0.1",
)
TRAINING = (  # chosen on half A, on people kept apart inside of it
    "train.loss.kind=arcface",
    "train.loss.margin=0.3",
    "train.loss.scale=32.0",
    "train.optimiser.kind=adamw",
    "train.optimiser.learning_rate=0.0002",
    "train.optimiser.centres_rate=0.001",  # centres stay where the old model, on clear and hard views, puts them
    "train.optimiser.weight_decay=0.0001",
    "train.schedule.epochs=1",
    "train.blend=0.5",
    "train.batch_size=64",
    "train.augmentation=flip",
    "train.workers=0",
)


@dataclass(slots=True)
class Clock:
    """Wall and CPU seconds by what was done, in order."""

    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, action: Callable[[], object]) -> None:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        action()
        self.wall_s[name] = self.wall_s.get(name, 0.0) + time.perf_counter() - wall_s
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - cpu_s
        print(f"{name}: {self.wall_s[name]:.1f} s, {self.cpu_s[name]:.1f} s of CPU", flush=True)


def half_of(person: str) -> str:
    return "AB"[int(hashlib.sha256(person.encode()).hexdigest(), 16) % 2]


def lay_out(photos: Path, out: Path) -> None:
    """The folders of each half as a source of its own: `A/source`, `B/source`."""
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        shutil.copytree(folder, out / half_of(folder.name) / "source" / folder.name)


def pack_folder(given: Path, out: Path) -> Path:
    """A pack folder as it is; of a bare .onnx, one with a manifest."""
    if given.is_dir():
        return given
    folder = out / "pack"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(given, folder / "recogniser.onnx")
    recognition = {
        "file": "recogniser.onnx",
        "sha256": sha256_of(given.read_bytes()),
        "kind": "arcface",
        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128},
        "input_size": 112,
        "embedding_dimension": 128,
    }
    manifest = {
        "manifest_version": 1,
        "pack_id": "mobilefacenet-128",
        "licence": "as the original",
        "tasks": {"recognition": recognition},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def workspace(root: Path, pack: Path, threads: int, extra: Sequence[str] = ()) -> Workspace:
    overrides = [*FIXED, f"embed.model.pack={json.dumps(str(pack))}", f"train.start={json.dumps(str(pack))}", *extra]
    tree = read_params(default_params_path(), ["paths.source=source", *overrides])
    return open_workspace(root, tree, threads=threads, progress=SilentProgress())


def people_of(work: Workspace, truth: TruthSpec) -> dict[str, str]:
    """Person by face id, from the folders; photos whose folder lies are not in it."""
    footage = list(read_table(work.path("footage"), "footage", Footage))
    return dict(know(truth, footage, read_boxes(work.path("faces")), {}, []).person_of_face)


def embed_all(work: Workspace, crops: Sequence[UInt8Array]) -> Float32Array:
    """Unit vectors (n, d) of the workspace's recogniser."""
    model = section(work.tree, "embed", EmbedParams).model
    return model.recogniser(threads=work.threads, batch_size=8).embed(np.stack(crops)).vectors


def clusters_of(work: Workspace, faces: Sequence[str]) -> Int64Array:
    found = {row.face_id: row.cluster_id for row in read_table(work.path("clusters"), "clusters", Cluster)}
    return np.array([found.get(face, -1) for face in faces], np.int64)


def see(work: Workspace, camera: Camera, clock: Clock) -> dict[str, UInt8Array]:
    """Ingest and detect the clear photos, then look at their faces with the hard camera; returns the clear crops."""
    kept = work.root / "clear-crops.npz"
    if not kept.exists():  # a run that was cut short goes on from here: stages know by themselves what is done
        for stage in ("ingest", "detect"):
            clock.timed(stage, partial(run_stage, work, stage))
        crops = clear_crops(work)
        clock.timed("degrade", partial(see_again, work, camera))
        np.savez(kept, faces=np.array(sorted(crops)), crops=np.stack([crops[name] for name in sorted(crops)]))
    with np.load(kept) as stored:
        return dict(zip(stored["faces"].tolist(), stored["crops"], strict=True))


def label(work: Workspace, clock: Clock) -> None:
    export_decisions(work)
    for stage in ("embed", "cluster", "identify"):
        clock.timed(stage, partial(run_stage, work, stage))


def labels_of_release(work: Workspace) -> list[ReleaseSample]:
    return [row for row in read_table(work.path("release"), "samples", ReleaseSample) if row.split == "train"]


def labels_line(work: Workspace, truth: TruthSpec) -> str:
    """What the machine's own labels are worth; the truth is read for this line alone."""
    samples = labels_of_release(work)
    person = people_of(work, truth)
    tracks = {face.face_id: face.footage_id for face in read_table(work.path("faces"), "faces", Face)}
    footage_person = {tracks[face]: name for face, name in person.items()}
    known, share = purity(((row.identity_id, tracks[row.face_id]) for row in samples), footage_person)
    identities = len({row.identity_id for row in samples})
    return (
        f"auto-labels of half A: {len(samples)} crops of {len({tracks[row.face_id] for row in samples})} photos, "
        f"{identities} identities (people there: {len(set(footage_person.values()))}), purity {share:.4f} of {known}"
    )


def compare(
    old: Workspace,
    new: Workspace,
    clear: dict[str, UInt8Array],
    truth: TruthSpec,
    clock: Clock,
    out: Path,
    labels: str,
) -> None:
    """Half B under the old model, then switched to the new one: figures, questions, table, picture."""
    person = people_of(old, truth)
    faces = sorted(person)
    number = np.unique([person[face] for face in faces], return_inverse=True)[1].astype(np.int64)
    hard = clear_crops(old)
    rows: list[Compared] = []
    for name, crops in (("hard", hard), ("clear", clear)):
        shown = [crops[face] for face in faces]
        rows += compare_pairs(name, embed_all(old, shown), embed_all(new, shown), number)
    before, asked = clusters_of(old, faces), {}
    asked["old model"] = ask(old, truth, **ASKED)
    switch = plan_switch(old, pack_of(old), pack_of(new))
    clock.timed("switch", partial(finish, new, switch, abort_above=1.0, now=datetime.now(UTC)))
    rows += compare_clusters(before, clusters_of(new, faces), number)
    asked["new model"] = ask(new, truth, **ASKED)
    draw(asked, out / "questions.png")
    seconds = ", ".join(f"{name} {wall_s:.0f} ({clock.cpu_s[name]:.0f})" for name, wall_s in clock.wall_s.items())
    lines = [labels, "", f"half B: {len(faces)} photos of {number.max() + 1} people", ""]
    lines += ["| figure | old | new | gain | 95 % interval | |", "|---|--:|--:|--:|--:|---|"]
    lines += [row.row() for row in rows]
    lines += ["", "| answers to pairwise F of | old | new |", "|---|--:|--:|"]
    for target in TARGETS:
        cells = [questions_to_reach(runs[0], target) for runs in asked.values()]
        lines.append(f"| {target:g} | " + " | ".join("not reached" if c is None else str(c) for c in cells) + " |")
    lines += ["", f"wall seconds (CPU) of this run: {seconds}; in all {sum(clock.wall_s.values()):.0f}"]
    report = "\n".join(lines)
    (out / "turn.md").write_text(report + "\n", encoding="utf-8")
    written = {"rows": [asdict(row) for row in rows], "wall_s": clock.wall_s, "cpu_s": clock.cpu_s}
    (out / "turn.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    print(report)


def pack_of(work: Workspace) -> str:
    return section(work.tree, "embed", EmbedParams).model.pack


def draw(asked: dict[str, list[list[Progress]]], path: Path) -> None:
    """F against answers, one curve a model: its first run."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, runs), colour in zip(asked.items(), ("#9a9a9a", "#1f6f8b"), strict=True):
        axes.plot([at.questions for at in runs[0]], [at.pairwise_f for at in runs[0]], color=colour, label=name)
    axes.set(xlabel="answers", ylabel="pairwise F of half B", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--truth-except", type=Path, help="paths, one a line: photos whose folder lies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-labels", action="store_true", help="stop before training: nothing of half B is scored")
    options = parser.parse_args()
    out, clock = options.out.resolve(), Clock()
    if not (out / "B" / "source").exists():
        lay_out(options.photos, out)
    pack = pack_folder(options.pack.resolve(), out)
    truth = TruthSpec(file=None, except_file=options.truth_except)
    first = workspace(out / "A", pack, options.threads, TRAINING)
    see(first, Camera(domain=FAR_CAMERA, views=VIEWS, keeps_clear=True, seed=SEED), clock)
    label(first, clock)
    clock.timed("pack", partial(run_stage, first, "pack"))
    labels = labels_line(first, truth)
    print(labels, flush=True)
    if options.only_labels:
        return
    clock.timed("train", partial(run_stage, first, "train"))
    candidate = first.path("candidate").resolve()
    second = workspace(out / "B", pack, options.threads)
    clear = see(second, Camera(domain=FAR_CAMERA, views=1, keeps_clear=False, seed=SEED + 1), clock)
    label(second, clock)
    compare(second, workspace(out / "B", candidate, options.threads), clear, truth, clock, out, labels)


if __name__ == "__main__":
    main()
