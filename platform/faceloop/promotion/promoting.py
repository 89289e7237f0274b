"""promote: the published release becomes the current one, once it has passed its gate and somebody stands for it."""

from dataclasses import asdict

from faceloop.loop_params import GateParams
from faceloop.promotion.due import stock_of
from faceloop.promotion.figures import figures_of, trained_by
from faceloop.promotion.gate import check_gate
from faceloop.runner import Workspace
from facestore.errors import StageError
from facestore.jobs import Job, Jobs
from facestore.promotions import Promotion, PromotionRequest, Promotions, Stock
from facestore.publish import verify


def promote(
    work: Workspace, promotions: Promotions, jobs: Jobs, floors: GateParams, *, by: str, job_id: str | None
) -> Promotion:
    """Promote the published release; already current, it stays so and nothing is written.

    `job_id` names the job whose release is meant: what was approved, not what lies there by now. Raises StageError
    when that is another one, the job did not succeed, or the release fails its gate; DataError where a file of the
    release is not what pack wrote.
    """
    figures = figures_of(work, jobs)
    job = jobs.find(job_id) if job_id is not None else trained_by(jobs, figures.release)
    if job is not None:
        _check_job(job, figures.release)
    check_gate(figures, floors)
    verify(work.path("release"))
    return promotions.promote(
        PromotionRequest(
            release=figures.release,
            by=by,
            job_id=job.job_id if job is not None else None,
            parameter_set=job.parameter_set if job is not None else "default",
            revision=job.revision if job is not None else None,
            figures=asdict(figures),
            stock=_stock_of_release(work, promotions),
        )
    )


def _check_job(job: Job, release: str) -> None:
    if job.state != "succeeded":
        raise StageError(f"job {job.job_id} is {job.state}; promote what succeeded")
    if job.inputs_digest != release:
        raise StageError(
            f"job {job.job_id} is of release {job.inputs_digest[:12]}, published is {release[:12]} by now; "
            "submit and approve that one"
        )


def _stock_of_release(work: Workspace, promotions: Promotions) -> Stock:
    """What the release was made from: the stock when its run was told that it is due, else what is there now."""
    mark = promotions.last_mark()
    return mark.stock if mark is not None and mark.answer is not None else stock_of(work)
