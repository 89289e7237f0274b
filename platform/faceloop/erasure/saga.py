"""An erasure from its plan to its certificate: steps that are noted when they are done, and done again when cut off.

The order matters. Nobody uses the faces first; then keys go, so that no copy can be read; then bytes, store by store;
the catalogue follows, since its rows say where bytes are; references stay that keep the files from coming back. The
search comes last, over everything, and the plan goes only after it found nothing.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from faceloop.erasure.buckets import search_buckets, together
from faceloop.erasure.certificate import Certificate, read_certificate, write_certificate
from faceloop.erasure.copies import copies_of
from faceloop.erasure.finding import BY_SUBJECT, Finding
from faceloop.erasure.labelling import Labelling, clear_labelling
from faceloop.erasure.needles import Searched, search
from faceloop.erasure.planning import ERASURES, PLAN, Plan, make_plan, plan_path, read_plan, write_held, write_plan
from faceloop.erasure.references import bury
from faceloop.erasure.stores import (
    change_releases,
    clear_copies,
    clear_leftovers,
    exchange_artifacts,
    purge_catalogue,
    remove_media,
    shred_keys,
)
from faceloop.restriction.restricting import restrict
from faceloop.restriction.subject import find_subject, read_situation
from faceloop.review.access import review_params
from faceloop.runner import Workspace, hold
from faceloop.stage import STAGES
from facestore.auditlog import AuditLog
from facestore.ciphers import Signer
from facestore.diskfaults import disk_faults
from facestore.erasures import Erasure, Erasures
from facestore.errors import DataError, ErasureIncomplete
from facestore.ids import JsonValue, digest_of
from facestore.peppers import known_pepper
from facestore.refs import subject_ref

Clock = Callable[[], datetime]
_PATIENCE_S = 600.0
ACTION = "erase"  # of the audit log
_SERVED = "folder"  # of pictures: the labelling server's own
_THEN = "what was done stays done: make room, then run `faceloop erase apply` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the world lends to an erasure."""

    clock: Clock
    labelling: Labelling | None = None
    also_source: bool = False  # remove the user's own files, too
    signer: Signer | None = None  # of the certificate
    search_too: Sequence[Path] = ()  # other folders where no byte may be left: of a server, of a database


def utc_now() -> datetime:
    return datetime.now(UTC)


def begin(
    work: Workspace,
    text: str | frozenset[str],
    *,
    by: str,
    reason: str,
    clock: Clock = utc_now,
    finding: Finding = BY_SUBJECT,
) -> Plan:
    """Find the subject, or these faces, restrict it, keep the plan, write the erasure down. One that was begun is gone
    on with.

    Raises what `find_subject` raises, DataError for a reason that is no code.
    """
    if (waiting := find_waiting(work, text)) is not None:
        return waiting
    with disk_faults("begin an erasure", _THEN), hold(work, "erase", wait_s=_PATIENCE_S):
        _drop_old_plans(work)
        restrict(work, text, by=by, reason=reason, now=clock())  # from here on nobody uses them
        situation = read_situation(work)
        plan = replace(make_plan(work, situation, find_subject(situation, text)), finding=finding)
        with erasures(work) as journal:
            plan = replace(plan, erasure_id=_unused(plan.erasure_id, journal))
            write_plan(work.root, plan)
            ref = subject_ref(known_pepper(work.ledger_url(), work.root), plan.subject_id)
            journal.begin(erasure_id=plan.erasure_id, subject_ref=ref, asked_by=by, reason=reason, at=clock())
    return plan


def _unused(erasure_id: str, journal: Erasures) -> str:
    """Whom a restore brought back is erased once more: that is another erasure, with a certificate of its own."""
    ended = {one.erasure_id for one in journal.all() if one.state == "done"}
    while erasure_id in ended:
        erasure_id = digest_of(["again", erasure_id])[: len(erasure_id)]
    return erasure_id


def find_waiting(work: Workspace, text: str | frozenset[str]) -> Plan | None:
    """The plan of an erasure under way that `text` names: its id, its subject's, or its probe's; or faces of it, by
    their ids or first digits."""
    for path in sorted((work.root / ERASURES).glob(f"*/{PLAN}")):
        plan = read_plan(work.root, path.parent.name)
        with erasures(work) as journal:
            known = {one.erasure_id for one in journal.all() if one.state == "under_way"}
        if plan.erasure_id in known and _names(text, plan):
            return plan
    return None


def find_ended(work: Workspace, text: str) -> Certificate | None:
    """The certificate of the last erasure that is done of `text`: its id, or its subject's whole id, which nobody has
    any more. What a kill left of its plan goes. Raises DataError where the certificate is gone."""
    ref = subject_ref(known_pepper(work.ledger_url(), work.root), text)
    with erasures(work) as journal:
        ended = [
            one for one in journal.all() if one.state == "done" and (one.erasure_id == text or one.subject_ref == ref)
        ]
    if not text or not ended:
        return None
    try:
        find_subject(read_situation(work), text)
    except DataError:
        for one in ended:
            plan_path(work.root, one.erasure_id).unlink(missing_ok=True)
        return read_certificate(work, ended[-1].erasure_id)
    return None


def _names(text: str | frozenset[str], plan: Plan) -> bool:
    if isinstance(text, str):
        return text in {plan.erasure_id, plan.subject_id, plan.finding.probe_id, *plan.face_ids} - {""}
    return bool(text) and all(any(face.startswith(one) for face in plan.face_ids) for one in text)


def go_on(work: Workspace, erasure_id: str, means: Means) -> Certificate:
    """Do what is left of an erasure, up to its certificate. Whenever it was killed, it ends the same; one that is done
    gives the certificate that it has.

    Raises ErasureIncomplete where bytes are found at the end: all steps are then done once more by the next call.
    StoreError where a store cannot be used, or the disk fails; DataError for an unknown erasure.
    """
    with disk_faults("go on with an erasure", _THEN), ExitStack() as held, erasures(work) as journal:
        held.enter_context(hold(work, "erase", wait_s=_PATIENCE_S))
        _drop_old_plans(work)
        if journal.find(erasure_id).state == "done":  # maybe by another, while we waited
            return read_certificate(work, erasure_id)
        plan = read_plan(work.root, erasure_id)
        for stage in (*STAGES, "decisions"):  # no stage publishes what it read before
            held.enter_context(hold(work, stage, wait_s=_PATIENCE_S))
        for step, do in _steps(work, plan, means):
            if step not in journal.find(erasure_id).steps:
                journal.note_step(erasure_id, step, do(), at=means.clock())
        found = search_everywhere(work, plan, means)
        if found.held:
            journal.forget_steps(erasure_id)
            listed = write_held(work.root, erasure_id, found.held).relative_to(work.root)
            raise ErasureIncomplete(
                f"{len(found.held)} files still hold something of the person: {listed} lists them; "
                "close what has them open, then run `faceloop erase apply` again"
            )
        references_sha256 = bury(work, plan, journal)
        written = write_certificate(
            work,
            plan,
            journal.find(erasure_id),
            found,
            copies_of(work.root),
            now=means.clock(),
            signer=means.signer,
            references_sha256=references_sha256,
        )
        _audit(work, journal.find(erasure_id), written, plan.finding.how)
        journal.end(erasure_id)
        plan_path(work.root, erasure_id).unlink(missing_ok=True)
    return written


def _drop_old_plans(work: Workspace) -> None:
    """A plan holds what is searched for. One whose erasure ended, or was never written down, was left by a kill; what
    lies beside one, by a kill or a search that found something."""
    with erasures(work) as journal:
        under_way = {one.erasure_id for one in journal.all() if one.state == "under_way"}
    for path in (work.root / ERASURES).glob(f"*/{PLAN}*"):
        if path.parent.name not in under_way or path.name != PLAN:
            path.unlink(missing_ok=True)


def _steps(work: Workspace, plan: Plan, means: Means) -> Iterator[tuple[str, Callable[[], JsonValue]]]:
    yield "keys", lambda: shred_keys(work, plan)
    yield "labelling", lambda: clear_labelling(work, plan, means.labelling)
    yield "media", lambda: remove_media(work, plan, also_source=means.also_source)
    yield "artifacts", lambda: exchange_artifacts(work, plan)
    yield "releases", lambda: change_releases(work, plan)
    yield "leftovers", lambda: clear_leftovers(work, plan)
    yield "copies", lambda: clear_copies(plan.search_for(), list(copies_of(work.root).folders))
    yield "catalogue", lambda: purge_catalogue(work, plan)


def search_everywhere(work: Workspace, plan: Plan, means: Means) -> Searched:
    """Every file of every store that lies in a folder, but for the plan itself; buckets with all versions."""
    shutil.rmtree(work.root / ERASURES / plan.erasure_id / "waiting", ignore_errors=True)
    places = [work.root, *copies_of(work.root).folders, *means.search_too]
    if means.labelling is not None and means.labelling.folder is not None:
        places.append(means.labelling.folder)
    passed = [plan_path(work.root, plan.erasure_id)]
    source = work.external("source")
    if "://" not in source:
        passed.append(Path(source))  # the user's own; the certificate counts them
    buckets = []
    for store in (work.external("objects"), review_params(work).pictures):
        if store.startswith("s3://"):
            buckets.append(store)
        elif store != _SERVED:
            places.append(Path(store.removeprefix("file://")))
    needles = plan.search_for()
    return together(search(places, needles, but_for=passed), search_buckets(buckets, needles))


def _audit(work: Workspace, erasure: Erasure, written: Certificate, found_by: str) -> None:
    """One entry an erasure: called again after a kill, it finds its own."""
    log = AuditLog(work.ledger_url())
    try:
        written_down = (entry.what.get("erasure") for entry in log.entries() if entry.action == ACTION)
        if erasure.erasure_id not in written_down:
            what: dict[str, JsonValue] = {
                "erasure": erasure.erasure_id,
                "faces": written.faces,
                "reason": erasure.reason,
                "found_by": found_by,
            }
            log.append(
                who=erasure.asked_by, action=ACTION, purpose="erasure", subject_ref=erasure.subject_ref, what=what
            )
    finally:
        log.close()


@contextmanager
def erasures(work: Workspace) -> Iterator[Erasures]:
    journal = Erasures(work.ledger_url())
    try:
        yield journal
    finally:
        journal.close()


def status(work: Workspace) -> list[Erasure]:
    with erasures(work) as journal:
        return journal.all()
