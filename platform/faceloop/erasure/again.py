"""Whoever was erased, and whom a restore brought back, is erased again.

An erasure leaves keyed references. A backup from before it has none of them, and a copy of the files holds the person:
references come back from the certificates' folder, and by them the faces that are there again are found.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceloop.erasure.certificate import Certificate
from faceloop.erasure.finding import Finding
from faceloop.erasure.planning import ERASURES, PLAN, Plan, read_plan
from faceloop.erasure.references import Paper, read_papers, remember
from faceloop.erasure.saga import Means, begin, erasures, go_on
from faceloop.restriction.subject import read_situation
from faceloop.runner import Workspace
from facestore.ids import media_key
from facestore.objects import open_store
from facestore.peppers import known_pepper
from facestore.publish import read_manifest
from facestore.refs import subject_ref

_MEDIA = "media/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What of one erasure is there again."""

    paper: Paper
    face_ids: tuple[str, ...]  # accepted ones, in the order of their ids


def take_in(work: Workspace, folders: Sequence[Path]) -> tuple[list[Paper], list[str]]:
    """The erasures whose certificates lie in the root or in `folders`, and the ids of those that the catalogue did not
    know: it knows them now, and nothing of theirs comes in any more.

    Raises DataError for papers that were changed, ConfigError for those of another pepper.
    """
    found: dict[str, Paper] = {}
    for folder in (work.root / ERASURES, *folders):
        for paper in read_papers(folder):
            found.setdefault(paper.erasure.erasure_id, paper)
    return list(found.values()), remember(work, found.values())


def returned(work: Workspace, papers: Sequence[Paper]) -> list[Returned]:
    """What of these erasures the root's tables show again; of a face that two erasures had, the earlier one has it."""
    pepper = known_pepper(work.ledger_url(), work.root)
    present = {subject_ref(pepper, face): face for face in _accepted_faces(work)}
    found = []
    for paper in papers:
        faces = sorted(present.pop(ref) for ref in paper.face_refs & present.keys())
        if faces:
            found.append(Returned(paper=paper, face_ids=tuple(faces)))
    return found


def faces_back(work: Workspace) -> int:
    """How many faces of the root's tables were erased, as the catalogue knows it."""
    pepper = known_pepper(work.ledger_url(), work.root)
    with erasures(work) as journal:
        return len(journal.erased_faces({subject_ref(pepper, face) for face in _accepted_faces(work)}))


def _accepted_faces(work: Workspace) -> Collection[str]:
    return read_situation(work).tracklet_of if read_manifest(work.path("faces")) is not None else ()


def objects_returned(work: Workspace) -> list[str]:
    """Footage that was erased and whose bytes lie in the object store: ids."""
    pepper = known_pepper(work.ledger_url(), work.root)
    store = open_store(work.external("objects"), may_link=False)
    stored = [PurePosixPath(one.key).name for one in store.listed(0.0) if one.key.startswith(_MEDIA)]
    named = {subject_ref(pepper, footage): footage for footage in stored}
    with erasures(work) as journal:
        return sorted(named[ref] for ref in journal.erased_footage(named))


def erase_again(work: Workspace, papers: Sequence[Paper], means: Means, *, by: str) -> Iterator[Certificate]:
    """Erase all of it, one certificate an erasure; called again after a kill it goes on.

    Raises what `begin` and `go_on` raise.
    """
    for plan in _under_way(work):
        yield go_on(work, plan.erasure_id, means)
    for back in returned(work, papers):
        earlier = back.paper.erasure
        finding = Finding(how="again", again_of=earlier.erasure_id)
        plan = begin(work, frozenset(back.face_ids), by=by, reason=earlier.reason, clock=means.clock, finding=finding)
        yield go_on(work, plan.erasure_id, means)
    store = open_store(work.external("objects"), may_link=False)
    store.remove([media_key(footage) for footage in objects_returned(work)])


def _under_way(work: Workspace) -> list[Plan]:
    with erasures(work) as journal:
        begun = {one.erasure_id for one in journal.all() if one.state == "under_way"}
    plans = [read_plan(work.root, path.parent.name) for path in sorted((work.root / ERASURES).glob(f"*/{PLAN}"))]
    return [plan for plan in plans if plan.erasure_id in begun and plan.finding.how == "again"]
