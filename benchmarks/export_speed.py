"""Forms of a recogniser side by side: what each costs, and what it does to faces.

Photos lie in one folder a person. Half of the people calibrate int8, the other half is compared on. One thread, CPU
seconds (others may use the machine), every form and engine in each round, in alternating order, median over rounds.
Run: `python -m benchmarks.export_speed --photos FOLDER --root SCRATCH [--except LIST] [--pack FOLDER]… [--student
FOLDER]`; a root in which the photos were detected before is used as it is.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the figures are per core

import numpy as np

from faceloop.export.canonical import RecogniserGraph, canonical_graph, recogniser_of
from faceloop.export.embedding import contract_of
from faceloop.export.engines import Form
from faceloop.export.forms import make_form
from faceloop.export.parity import Parity
from faceloop.export.plans import GpuPlan, plan_engines
from faceloop.export.tensorrt_builder import build_engine
from faceloop.export.trial import Trial, open_trial
from faceloop.params import Tree, read_params, section
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
from faceloop.stages.export import Params, recoverer
from faceloop.vision.arrays import Float32Array
from faceloop.vision.contract import Precision
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import normalise
from faceloop.vision.sessions import Engine, InferenceSession, open_session
from facestore.crops import CropReader
from facestore.errors import ConfigError, DataError
from facestore.ids import sha256_hex
from facestore.records import Face, Footage, ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import read_table, write_table

FORMS: tuple[Form, ...] = ("float32", "float16", "int8", "pruned", "channels", "distilled")
ENGINES: tuple[tuple[Engine, Precision], ...] = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"))
SETTINGS = (
    f"export.forms=[{', '.join(FORMS)}]",
    "export.triton=null",
    "export.targets=[tensorrt-rtx]",
    "export.comparison.splits=[test]",
)
BATCH = 8


@dataclass(slots=True, kw_only=True)
class Row:
    """One form on one engine."""

    name: str
    session: InferenceSession
    parity: Parity
    size_mb: float
    seconds: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--except", dest="wrong", type=Path, help="photos in the wrong folder, a path a line")
    parser.add_argument("--pack", action="append", default=[], help="a candidate; default: builtin")
    parser.add_argument("--student", help="a pack distilled from the first candidate")
    parser.add_argument("--form", action="append", choices=FORMS, help="only these; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="export.KEY=VALUE")
    options = parser.parse_args()
    tree = read_params(Path("params.yaml"), [*SETTINGS, *options.set])
    params = section(tree, "export", Params)
    detected(options.photos, options.root, tree)
    with TemporaryDirectory() as scratch:
        release = Path(scratch)
        say(pack_release(options.root, release, options.wrong))
        for name in options.pack or ["builtin"]:
            pack = load_pack(name, accept_licence="non-commercial", insightface_root=None)
            canonical = canonical_graph(pack)
            trial = open_trial(pack, canonical, release=release, params=params, threads=1)
            preprocessing = recogniser_of(pack).preprocessing
            graphs: dict[str, RecogniserGraph] = {
                form: make_form(
                    form,
                    canonical,
                    release=release,
                    preprocessing=preprocessing,
                    params=params,
                    recover=recoverer(params, threads=1),
                )
                for form in FORMS
                if form in (options.form or FORMS)
            }
            rows = [row for form, graph in graphs.items() for row in rows_of(form, graph, trial)]
            if options.student and name == (options.pack or ["builtin"])[0]:
                student = load_pack(options.student, accept_licence="non-commercial", insightface_root=None)
                graphs["student"] = canonical_graph(student)
                # Fed as the student wants, held against the teacher's vectors: distilled, they share a space.
                rows += rows_of("student", graphs["student"], replace(trial, pack=student))
            crops = trial.faces.crops_rgb[: 4 * BATCH]
            measure_speed(rows, normalise(crops, contract_of(canonical, preprocessing, hint="f32")), options.rounds)
            print_table(pack.pack_id, rows)
            print_builds(graphs, params)


def detected(photos: Path, root: Path, tree: Tree) -> None:
    """Find faces in the photos, unless the root has them."""
    if (root / "crops").is_dir():
        return
    paths = tree["paths"]
    if isinstance(paths, dict):
        paths["source"] = str(photos.resolve())
    work = open_workspace(root, tree, threads=1, progress=SilentProgress())
    for stage in ("ingest", "detect"):
        run_stage(work, stage)


def pack_release(root: Path, release: Path, wrong: Path | None) -> str:
    """Largest face of each photo, under its folder's name; people go to train or test by their name's hash."""
    left_out = set(wrong.read_text(encoding="utf-8").split("\n")) if wrong else set()
    person = {
        footage.footage_id: footage.subset
        for footage in read_table(root / "footage", "footage", Footage)
        if footage.uri not in left_out
    }
    largest: dict[str, Face] = {}
    for face in read_table(root / "faces", "faces", Face):
        rival = largest.get(face.footage_id)
        if face.crop_key and face.footage_id in person and (rival is None or face.size_px > rival.size_px):
            largest[face.footage_id] = face
    reader = CropReader(root / "crops")
    rows: list[ReleaseSample] = []
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        chosen = [
            face
            for footage_id, face in sorted(largest.items())
            if (int(sha256_hex(person[footage_id].encode())[:8], 16) % 2 == 0) == (split == "train")
        ]
        labels = [
            SampleLabel(face_id=face.face_id, identity_id=sha256_hex(person[face.footage_id].encode())[:16],
                        class_index=-1, confidence=1.0, quality=face.quality)
            for face in chosen
        ]  # fmt: skip
        jpegs = (reader.jpeg("aligned", str(face.crop_key)) for face in chosen)
        written = write_shards(release / split, zip(labels, jpegs, strict=True), 4096)
        rows += [
            ReleaseSample(split=split, shard=place.shard, row=place.row, face_id=label.face_id, footage_id="",
                          identity_id=label.identity_id, class_index=-1, confidence=1.0, quality=label.quality,
                          sha256=place.sha256)
            for label, place in zip(labels, written, strict=True)
        ]  # fmt: skip
    reader.close()
    write_table(release / "samples.parquet", ReleaseSample, rows)
    calibrating = sum(row.split == "train" for row in rows)
    return f"{calibrating} faces to calibrate on, {len(rows) - calibrating} to compare on"


def rows_of(name: str, graph: RecogniserGraph, trial: Trial) -> list[Row]:
    """A row for each engine that this machine offers."""
    form: Form = next((known for known in FORMS if known == name), "float32")
    found = []
    for engine, hint in ENGINES:
        try:
            verdict = trial.judge(form, graph, engine=engine, hint=hint)
        except ConfigError:
            continue  # no bf16 on this CPU
        session = open_session(graph.onnx_bytes, engine=engine, precision=hint, threads=1)
        label = f"{name}, {engine}" + (" bf16" if hint == "bf16" else "")
        size_mb = len(graph.onnx_bytes) / 1e6
        found.append(Row(name=label, session=session, parity=verdict.parity, size_mb=size_mb, seconds=[]))
    return found


def measure_speed(rows: Sequence[Row], inputs: Float32Array, rounds: int) -> None:
    """CPU seconds an image, in batches."""
    batches = [np.ascontiguousarray(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    for row in rows:
        row.session.run(batches[0])  # warm
    for turn in range(rounds):
        for row in rows if turn % 2 == 0 else rows[::-1]:
            started = time.process_time()
            for batch in batches:
                row.session.run(batch)
            row.seconds.append((time.process_time() - started) / len(inputs))


def print_table(name: str, rows: Sequence[Row]) -> None:
    reference = statistics.median(rows[0].seconds)
    first = rows[0].parity
    say(f"\n{name}: {first.faces} faces, TAR at FAR {first.far}, F at cosine {first.cut}\n")
    say("| form, engine | CPU ms an image | times | MB | cosine mean | min | drift mean | TAR | F |")
    say("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        seconds, parity = statistics.median(row.seconds), row.parity
        say(
            f"| {row.name} | {1000 * seconds:.1f} | {reference / seconds:.1f} | {row.size_mb:.1f} | "
            f"{parity.cosine_mean:.4f} | {parity.cosine_min:.4f} | {parity.drift_mean:.4f} | {parity.tar} | "
            f"{parity.f:.4f} |"
        )


def print_builds(graphs: dict[str, RecogniserGraph], params: Params) -> None:
    plan = plan_engines(params)[0]
    if not isinstance(plan, GpuPlan):
        return
    say("\n| TensorRT-RTX engine of | build CPU s | MB |\n|---|--:|--:|")
    for name, graph in graphs.items():
        started = time.process_time()
        try:
            engine = build_engine(plan.library, graph, plan.build)
        except DataError as error:
            say(f"| {name} | refused: {error} | |")
            continue
        say(f"| {name} | {time.process_time() - started:.1f} | {len(engine) / 1e6:.1f} |")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
