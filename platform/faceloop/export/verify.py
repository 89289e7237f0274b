"""Verify engines on their target: `python -m faceloop.export.verify FOLDER --records DIR`.

Runs each engine on the export's probes, compares with what the reference engine answered, and writes what was found
as a record of its own beside the export. The export is a fact and is not edited; `engines_as_known` joins the two.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from faceloop.export.engines import EngineRecord, State, read_engines
from faceloop.export.preflight import TargetMissing
from faceloop.export.probes import read_probes
from faceloop.export.running import run_engine
from faceloop.vision.arrays import Float32Array
from facestore.errors import DataError, FaceloopError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.publish import write_whole

# Probes are no faces: int8's scales were not made for them, and engines that round otherwise differ by 0.02 there.
# What is broken differs by far more; that a form is good enough for faces was said by its gate.
LEAST_COSINE = {"float32": 0.999, "float16": 0.998, "int8": 0.95, "pruned": 0.999, "channels": 0.999}
LEAST_COSINE_BF16 = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What one machine found about one engine. `state` is "verified" or "refused"; `device` as its driver says."""

    fingerprint: str
    engine_sha256: str
    state: State
    reason: str | None
    device: str
    cosine_min: float | None


def verify_engine(folder: Path, engine: EngineRecord) -> Verification:
    """Run one engine on the export's probes.

    Raises TargetMissing where this machine is not the engine's target (nothing was found out then), DataError for an
    engine that was refused, or whose file or probes are gone.
    """
    if engine.file is None:
        raise DataError(f"engine {engine.fingerprint} was refused ({engine.reason}); there is nothing to run")
    inputs, expected = read_probes(folder, engine.form)
    try:
        ran = run_engine(folder, engine, inputs)
    except TargetMissing:
        raise
    except FaceloopError as error:
        # An engine that does not load on its target is a finding, not a failure of this program.
        return Verification(
            fingerprint=engine.fingerprint, engine_sha256="", state="refused", reason=str(error)[:300],
            device=engine.target, cosine_min=None,
        )  # fmt: skip
    cosine = round(float(cosines(ran.vectors, expected).min()), 5)
    is_coarse = dict(engine.options).get("hint") == '"bf16"'
    least = min(LEAST_COSINE[engine.form], LEAST_COSINE_BF16) if is_coarse else LEAST_COSINE[engine.form]
    is_near = bool(cosine >= least)
    return Verification(
        fingerprint=engine.fingerprint,
        engine_sha256=ran.engine_sha256,
        state="verified" if is_near else "refused",
        reason=None if is_near else f"least cosine to the reference on probes {cosine} < {least}",
        device=ran.device,
        cosine_min=cosine,
    )


def cosines(found: Float32Array, expected: Float32Array) -> Float32Array:
    """Row by row; -1 where a vector is not finite or zero."""
    wide, other = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        value = (wide * other).sum(axis=1) / (np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1))
    return np.where(np.isfinite(value), value, -1.0).astype(np.float32)


def write_verification(records: Path, found: Verification) -> Path:
    """One file a finding, named by its content: verifying again with the same result changes nothing."""
    records.mkdir(parents=True, exist_ok=True)
    spelled: JsonValue = asdict(found)
    path = records / f"{found.fingerprint}-{digest_of(spelled)[:12]}.json"
    write_whole(path, canonical_json(spelled) + "\n")
    return path


def engines_as_known(folder: Path, records: Path) -> list[EngineRecord]:
    """The export's engines with what targets found since. One machine's refusal outweighs others' consent."""
    found = [_read(path) for path in sorted(records.glob("*.json"))] if records.is_dir() else []
    return [_joined(engine, [item for item in found if item.fingerprint == engine.fingerprint])
            for engine in read_engines(folder)]  # fmt: skip


def _joined(engine: EngineRecord, found: Sequence[Verification]) -> EngineRecord:
    if engine.state == "refused" or not found:
        return engine
    worst = min(found, key=lambda item: (item.state != "refused", item.device))
    return replace(engine, state=worst.state, reason=worst.reason)


def _read(path: Path) -> Verification:
    try:
        return Verification(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no record of a verification ({error}); remove it") from error


def main(arguments: Iterable[str] | None = None) -> int:
    """Exit code 0: all that could run here are verified; 1: one is refused; 2: none could run here."""
    parser = argparse.ArgumentParser(prog="python -m faceloop.export.verify", description=__doc__)
    parser.add_argument("folder", type=Path, help="an export: the folder with engines.json")
    parser.add_argument("--records", type=Path, required=True, help="where findings are written")
    parser.add_argument("--target", action="append", default=[], help="only engines of this target; may be repeated")
    options = parser.parse_args(None if arguments is None else list(arguments))
    done: list[Verification] = []
    skipped: list[str] = []
    try:
        for engine in read_engines(options.folder):
            if engine.state == "refused" or (options.target and engine.target not in options.target):
                continue
            try:
                found = verify_engine(options.folder, engine)
            except TargetMissing as error:
                skipped.append(f"{engine.fingerprint} {engine.target}: {'; '.join(error.missing)}")
                continue
            write_verification(options.records, found)
            done.append(found)
    except FaceloopError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for line in skipped:
        sys.stderr.write(f"not run here: {line}\n")
    refused = [item for item in done if item.state == "refused"]
    summary: JsonValue = {
        "verified": len(done) - len(refused),
        "refused": {item.fingerprint: item.reason for item in refused},
        "not_run_here": len(skipped),
    }
    sys.stdout.write(canonical_json(summary) + "\n")
    return 1 if refused else 0 if done else 2


if __name__ == "__main__":
    sys.exit(main())
