"""The certificate of a restriction: what was found, what is out of use now, looked up and not presumed, and what still
holds bytes of the person. It proves restriction, never erasure."""

import json
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from faceloop.restriction.inventory import Inventory, as_json, take_inventory
from faceloop.restriction.papers import CERTIFICATE, FOUND, PAGE, folder_of, read_paper, write_text
from faceloop.restriction.restricting import restricted_faces, why
from faceloop.restriction.subject import Situation, find_subject, read_situation, standing_of_subject
from faceloop.runner import Workspace
from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json, sha256_hex

KIND = "restriction of processing (GDPR Art. 18); this is no proof of erasure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold, as it was found."""

    what: str
    holds: bool
    found: str  # numbers
    then: str  # what to do where it does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was certified."""

    subject_id: str
    faces: int
    is_complete: bool
    missing: tuple[str, ...]  # what to do
    sha256: str  # of the paper without this line


def certify(work: Workspace, text: str, *, now: datetime) -> Certificate:
    """Look up how a restriction stands and write its certificate, complete or not; each call writes it anew.

    Raises DataError where no restriction stands, and what `find_subject` raises.
    """
    situation = read_situation(work)
    subject = find_subject(situation, text)
    standing = standing_of_subject(situation, subject.subject_id)
    ignores = [said for said in standing if said.verb == "ignore"]
    if not ignores:
        raise DataError(f"{subject.subject_id} is not restricted; `faceloop restrict apply` does it")
    found = take_inventory(work, situation, subject)
    checks = _checks(situation, subject.subject_id, found)
    body: dict[str, JsonValue] = {
        "kind": KIND,
        "subject": subject.subject_id,
        "restricted_by": [*sorted({said.annotator for said in ignores})],
        "reasons": list(why(standing)),
        "restricted_at": ignores[0].decided_at.isoformat(),
        "certified_at": now.isoformat(),
        "found_before": read_paper(work.root, subject.subject_id, FOUND),
        "found_now": as_json(found),
        "out_of_use": [
            {"what": check.what, "holds": check.holds, "found": check.found, "then": check.then} for check in checks
        ],
        "is_complete": all(check.holds for check in checks),
        "still_holds": list(remains(work, found)),
    }
    digest = sha256_hex(canonical_json(body).encode())
    folder = folder_of(work.root, subject.subject_id)
    write_text(folder / CERTIFICATE, json.dumps({**body, "sha256": digest}, indent=1, sort_keys=True) + "\n")
    write_text(folder / PAGE, _page(body, digest))
    return Certificate(
        subject_id=subject.subject_id,
        faces=len(subject.face_ids),
        is_complete=bool(body["is_complete"]),
        missing=tuple(check.then for check in checks if not check.holds),
        sha256=digest,
    )


def _checks(situation: Situation, subject_id: str, found: Inventory) -> list[Check]:
    faces = len(found.face_ids)
    in_force = len(restricted_faces(situation, subject_id) & set(found.face_ids))
    ignored = found.states.get("ignored", 0) + found.states.get("rejected", 0)
    current = sum(copy.rows for copy in found.samples if copy.is_current)
    waiting = sum(found.tasks.get(state, 0) for state in ("planned", "pushed")) if found.questions_open else 0
    return [
        Check(
            what="every face is restricted in the decision log, and nothing outweighs it",
            holds=in_force == faces,
            found=f"{in_force} of {faces} faces",
            then="run `faceloop restrict apply` again: faces or decisions came since",
        ),
        Check(
            what="no face has a label",
            holds=ignored == sum(found.states.values()),
            found=f"{ignored} of {sum(found.states.values())} labels say ignored",
            then="run `faceloop decisions export`, then cluster and identify",
        ),
        Check(
            what="no face is in a cluster",
            holds=found.clustered == 0,
            found=f"{found.clustered} faces are clustered",
            then="run `faceloop decisions export`, then cluster and identify",
        ),
        Check(
            what="the published release has no sample of them",
            holds=current == 0,
            found=f"{current} samples",
            then="run pack",
        ),
        Check(
            what="the gallery that counts does not know them",
            holds=not any(copy.is_current for copy in found.galleries),
            found=f"{sum(copy.rows for copy in found.galleries if copy.is_current)} faces",
            then="run `faceloop gallery publish`, and have consumers load it",
        ),
        Check(
            what="no question about them waits for people",
            holds=found.questions_open == 0,
            found=f"{found.questions_open} questions are open, {waiting} of their tasks at the labelling server",
            then="run select, then `faceloop review push`: it withdraws them, but for those that somebody has begun",
        ),
    ]


def remains(work: Workspace, found: Inventory) -> list[str]:
    """What still holds the person, in plain words: nothing of it is removed by a restriction."""
    earlier = [copy for copy in found.samples if not copy.is_current]
    lines = [
        f"footage: {len(found.footage_ids)} files in the object store and at their source; they may show others too",
        f"crops: {found.crops} aligned and {found.crops} wider pictures",
        f"vectors: {found.vectors} in the embeddings",
        f"rows of {len(found.face_ids) + found.rejected_faces} faces in the tables of detections, labels and decisions",
        f"review log: {found.questions_open + found.questions_closed} questions, {sum(found.tasks.values())} tasks",
        "answers, and pictures of what was answered, at the labelling server",
    ]
    lines += [f"an earlier copy of a release, {copy.place}: {copy.rows} samples" for copy in earlier]
    lines += [f"hard set {copy.place}: {copy.rows} pairs, with pictures on its sheet" for copy in found.hard_sets]
    lines += [
        f"{copy.place}: made from {copy.rows} faces; delete it here and wherever it was copied to"
        for copy in found.galleries
    ]
    if work.path("report").is_dir():
        lines.append("the report page, until it is made anew")
    lines += [
        "models that were trained on earlier releases",
        "copies that are not under this root: exports, DVC caches and remotes, backups; they were not looked into",
        "new footage of the person is not recognised as theirs: restrict again when it comes",
    ]
    if found.alike_face_ids:
        lines.append(f"{len(found.alike_face_ids)} tracklets of others or nobody resemble the person: look at them")
    return lines


def _page(body: dict[str, JsonValue], digest: str) -> str:
    environment = Environment(
        loader=PackageLoader("faceloop", "restriction"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("certificate.html.j2").render(paper=body, digest=digest)
