"""export: a candidate to what production runs. Forms under a parity gate, engines by target, Triton's repository."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from faceloop.export.params import ExportParams
from faceloop.stage import Context, In, Out, Report
from faceloop.vision.packs import load_pack
from facestore.errors import DataError, StageError

if TYPE_CHECKING:
    from faceloop.export.forms import Recover

VERSION = 2


class Params(ExportParams):
    """See `faceloop.export.params`."""


def run(*, release: In, candidate: In, exported: Out, params: Params, context: Context) -> Report:
    # Importing onnx takes a while, and every command loads every stage.
    from faceloop.export.exporting import ExportJob, export_candidate
    from faceloop.export.serving import write_serving

    report = Report()
    pack = load_pack(str(candidate), accept_licence=params.accept_licence, insightface_root=None, is_made_here=True)
    job = ExportJob(
        release=release,
        release_version=_version(release),
        exported=exported,
        previous=context.previous.get("exported"),
    )
    with context.stopwatch.on("export"):
        made = export_candidate(
            pack, job, params, threads=context.threads, recover=recoverer(params, threads=context.threads)
        )
    if params.triton is not None and params.triton.form in made.shipped:
        with context.stopwatch.on("triton"):
            write_serving(exported, pack, params.triton)
        report.figures["triton_repositories"] = 1
    report.items_in = len(made.engines)
    for engine in made.engines:
        if engine.state == "refused":
            report.rejected["form_refused" if engine.form in made.refused else "engine_refused"] += 1
        else:
            report.published += 1
            report.figures[f"{engine.state}_engines"] += 1
    if not made.shipped:
        raise StageError(f"nothing of the candidate passed its gate: {made.refused}; look at the gates or train anew")
    return report


def recoverer(params: ExportParams, *, threads: int) -> "Recover":
    """What trains a smaller form, as `params.recovery` says; torch is loaded when the first one asks."""
    from faceloop.vision.arrays import UInt8Array
    from faceloop.vision.specs import Preprocessing

    def recover_form(
        student: bytes, teacher: bytes, crops_rgb: UInt8Array, preprocessing: Preprocessing, *, steps: int
    ) -> bytes:
        from faceloop.training.reading.augmentation_profile import read_profile
        from faceloop.training.recovering import RecoveryCourse, recover

        wanted = params.recovery
        course = RecoveryCourse(
            steps=steps,
            batch_size=wanted.batch_size,
            learning_rate=wanted.learning_rate,
            seed=params.seed,
            threads=threads,
            augmentation=read_profile(wanted.augmentation),
        )
        return recover(student, teacher, crops_rgb, preprocessing, course)

    return recover_form


def _version(release: Path) -> str:
    """The release's own name for its content."""
    path = release / "manifest.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["release"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} names no release ({error}); run pack again") from error
