"""Put a form on trial: embed the same faces with it and with float32, and compare under its gate."""

from dataclasses import dataclass
from pathlib import Path

from faceloop.export.canonical import RecogniserGraph, recogniser_of
from faceloop.export.embedding import embed_with
from faceloop.export.engines import Form
from faceloop.export.params import ExportParams
from faceloop.export.parity import Parity, measure, shortfalls
from faceloop.export.release_faces import LabelledCrops, choose_stratified, read_crops, read_samples
from faceloop.vision.arrays import UInt8Array
from faceloop.vision.contract import Precision
from faceloop.vision.recogniser import Embeddings
from faceloop.vision.sessions import Engine
from faceloop.vision.specs import ModelPack


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reasons` is empty where the form may be shipped on that engine."""

    parity: Parity
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """The faces, and what float32 on ONNX Runtime says about them: the reference of every comparison."""

    pack: ModelPack
    faces: LabelledCrops
    reference: Embeddings
    params: ExportParams
    threads: int

    def embed(self, graph: RecogniserGraph, crops_rgb: UInt8Array, *, engine: Engine, hint: Precision) -> Embeddings:
        """Embed with the candidate's preprocessing. Raises ConfigError and ModelCorrupt as `open_session` does."""
        return _embed(self.pack, graph, crops_rgb, engine, hint, self.params, self.threads)

    def judge(self, form: Form, graph: RecogniserGraph, *, engine: Engine, hint: Precision) -> Verdict:
        """Compare a form on one engine with the reference. Raises as `embed`, and DataError where nothing embeds."""
        found = self.embed(graph, self.faces.crops_rgb, engine=engine, hint=hint)
        wanted = self.params.comparison
        parity = measure(
            self.reference,
            found,
            self.faces.identities,
            far=wanted.far,
            least_false_accepts=wanted.least_false_accepts,
        )
        return Verdict(parity=parity, reasons=shortfalls(parity, self.params.gates[form]))


def open_trial(
    pack: ModelPack, canonical: RecogniserGraph, *, release: Path, params: ExportParams, threads: int
) -> Trial:
    """Read the faces to compare on, evenly over quality, and embed them with the canonical graph.

    Raises DataError for a release without faces in `comparison.splits`.
    """
    wanted = params.comparison
    rows = read_samples(release, wanted.splits)
    chosen = choose_stratified(rows, strata=wanted.strata, count=wanted.count, seed=params.seed)
    faces = read_crops(release, chosen)
    reference = _embed(pack, canonical, faces.crops_rgb, "onnxruntime", "f32", params, threads)
    return Trial(pack=pack, faces=faces, reference=reference, params=params, threads=threads)


def _embed(
    pack: ModelPack,
    graph: RecogniserGraph,
    crops_rgb: UInt8Array,
    engine: Engine,
    hint: Precision,
    params: ExportParams,
    threads: int,
) -> Embeddings:
    return embed_with(
        graph,
        crops_rgb,
        preprocessing=recogniser_of(pack).preprocessing,
        engine=engine,
        hint=hint,
        threads=threads,
        batch_size=params.batch_size,
    )
