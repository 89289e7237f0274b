"""stage_program: what a job runs. One stage, as `faceloop run` runs it, over the release that the job is for.

Lease, fence, run key, resuming and publication are the stage's own; nothing of it is done here a second time.
"""

import os
import signal
import sys
from pathlib import Path

from faceloop.experiments.recording import record_run
from faceloop.jobs.programs import ended_as_program
from faceloop.jobs.revision import running_revision
from faceloop.params import read_params
from faceloop.progress import progress_for
from faceloop.runner import Workspace, open_workspace, run_stage
from faceloop.stage import load_stage
from facestore.errors import StageError
from facestore.ids import JsonValue
from facestore.publish import Manifest, read_manifest

NAME = "run_stage"
_WAIT_S = 600.0  # while another run holds the stage


def run_for_release(work: Workspace, stage: str, release_digest: str) -> dict[str, JsonValue]:
    """Run a stage; its counts, its figures and the digest of what is published now.

    Raises StageError when another release than the job's is published, before the run or by its end, and what
    `run_stage` raises.
    """
    found = read_manifest(work.path("release"))
    _refuse_other(stage, found.digest if found is not None else "none", release_digest)
    outcome = run_stage(work, stage, wait_s=_WAIT_S)
    record_run(work, outcome, revision=running_revision(os.environ))
    made = published_by(work, stage)
    if made is None:
        raise StageError(f"{stage}: what it published is gone; submit the job again")
    _refuse_other(stage, made.inputs.get("release", "none"), release_digest)
    return {
        "program": NAME,
        "stage": stage,
        "release": release_digest,
        "state": "unchanged" if outcome.was_published_before else "published",
        "run_key": outcome.run_key,
        "digest": made.digest,
        **outcome.report.counts(),
    }


def published_by(work: Workspace, stage: str) -> Manifest | None:
    """The manifest of what a stage with one output has published; None where it has not."""
    (out,) = load_stage(stage).outs
    return read_manifest(work.path(out))


def _refuse_other(stage: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise StageError(f"{stage}: the release is {found[:12]}, the job is for {wanted[:12]}; submit it again")


def main(arguments: list[str]) -> int:
    """`STAGE ROOT PARAMS RELEASE_DIGEST OUT`: the program as a worker starts it."""
    stage, root, params, release_digest, out = arguments
    signal.signal(signal.SIGTERM, _end)

    def run() -> JsonValue:
        work = open_workspace(
            Path(root), read_params(Path(params)), threads=os.cpu_count() or 1, progress=progress_for(os.environ)
        )
        return run_for_release(work, stage, release_digest)

    return ended_as_program(run, Path(out))


def _end(signal_number: int, _: object) -> None:
    """A polite end is an exception, so that leases are given back and children end."""
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
