"""One graph on one CPU engine, from crops to unit vectors: the same code that labels, so the same numbers."""

from faceloop.export.canonical import RecogniserGraph
from faceloop.vision.align import ALIGNMENT
from faceloop.vision.arrays import UInt8Array
from faceloop.vision.contract import EmbeddingContract, Precision
from faceloop.vision.recogniser import Embeddings, Recogniser
from faceloop.vision.sessions import Engine, open_session
from faceloop.vision.specs import Preprocessing


def embed_with(
    graph: RecogniserGraph,
    crops_rgb: UInt8Array,
    *,
    preprocessing: Preprocessing,
    engine: Engine,
    hint: Precision,
    threads: int,
    batch_size: int,
) -> Embeddings:
    """Embed uint8 RGB (n, 112, 112, 3). Raises ConfigError or ModelCorrupt as `open_session` does."""
    session = open_session(graph.onnx_bytes, engine=engine, precision=hint, threads=threads)
    contract = contract_of(graph, preprocessing, hint=hint)
    return Recogniser(session, contract=contract, batch_size=batch_size).embed(crops_rgb)


def contract_of(graph: RecogniserGraph, preprocessing: Preprocessing, *, hint: Precision) -> EmbeddingContract:
    """How the graph is fed; only its own vectors are ever compared under it."""
    return EmbeddingContract(
        pack_id="exported",
        recogniser_sha256=graph.sha256,
        alignment=ALIGNMENT,
        colour=preprocessing.colour,
        mean=preprocessing.mean,
        std=preprocessing.std,
        dimension=graph.dimension,
        precision=hint,
    )
