"""Labels follow the promoted model: embedded, clustered and identified aside, measured, then exchanged as one.

The switch itself is `faceloop.migration`'s. Here is which way it goes, what it starts from and what it came to.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from faceloop.decision_tables import export_decisions
from faceloop.labelling_model import kept_pack_name, live_contract_or_none
from faceloop.migration import complete_pending, contract_of, finish, plan_switch, restorable, roll_back
from faceloop.params import section
from faceloop.promotion.model_registry import note_promoted, opened_models, promoted_pack
from faceloop.runner import Workspace, hold, run_stage
from faceloop.shadow_impact import compare
from faceloop.stage import Report
from faceloop.stages.embed import Params as EmbedParams
from faceloop.vision.packs import BUILTIN, PROMOTED
from facestore.errors import InputsNotReady, NotCalibrated
from facestore.ids import JsonValue
from facestore.publish import read_manifest

State = Literal["switched", "restored", "unchanged", "nothing_embedded", "pinned"]
_LABELLING = ("embed", "cluster", "identify", "select")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What a switch came to. `restored`: the artifacts of before came back as they were, nothing was computed;
    `pinned`: params name a pack of their own, and labels stay with it.

    Questions are those that `select` plans; None where it was not asked.
    """

    state: State
    model_id: str | None  # promoted; None: the built-in one
    old_contract: str | None
    new_contract: str
    faces: int  # with a vector
    faces_labelled: int
    faces_moved: int
    identities: dict[str, int]  # by what becomes of them
    questions_before: int | None
    questions_after: int | None
    at: datetime


def switch_to_promoted(work: Workspace, *, abort_above: float, now: datetime) -> Switched:
    """Bring embeddings, clusters, assignments and questions to the promoted model. Twice is once; a kill is resumed.

    `abort_above`: the largest share of labelled faces that may move; on the way back to labels that were there, any.
    Raises StageError where too many faces would move or a decision would be broken, InputsNotReady while what it reads
    is made anew or the new contract has no calibration, LeaseHeld while a stage runs.
    """
    with hold(work, "switch"):
        complete_pending(work)
        with opened_models(work) as models:
            folder = promoted_pack(work, models)  # every byte of it checked
            note_promoted(work, models)
        model_id = None if folder is None else folder.name
        name = BUILTIN if folder is None else kept_pack_name(work.root, folder.relative_to(work.root))
        live = live_contract_or_none(work.path("embeddings"))
        pinned = section(work.tree, "embed", EmbedParams).model.pack
        if pinned != PROMOTED:
            work.progress.say("embed.model.pack names another pack than `promoted`: labels do not follow the promotion")
            return _unchanged(work, "pinned", model_id, live, contract_of(work, pinned), now)
        new = contract_of(work, name)
        if live is None:
            return _unchanged(work, "nothing_embedded", model_id, live, new, now)
        if live == new:
            _plan_questions(work)
            return _unchanged(work, "unchanged", model_id, live, new, now)
        return _switch(work, name, model_id, abort_above=abort_above, now=now)


def told(done: Switched) -> dict[str, JsonValue]:
    """A switch as JSON."""
    changed = sum(count for fate, count in done.identities.items() if fate != "unchanged")
    body: dict[str, JsonValue] = {**asdict(done), "identities_changed": changed, "at": done.at.isoformat()}
    return body


def _unchanged(
    work: Workspace, state: State, model_id: str | None, live: str | None, new: str, now: datetime
) -> Switched:
    planned = _published(work, "questions")
    return Switched(
        state=state,
        model_id=model_id,
        old_contract=live,
        new_contract=new,
        faces=_published(work, "embeddings") or 0,
        faces_labelled=0,
        faces_moved=0,
        identities={},
        questions_before=planned,
        questions_after=planned,
        at=now,
    )


def _plan_questions(work: Workspace) -> None:
    """Where a switch was killed after its exchange, they are still those of the labels before."""
    planned, embedded = read_manifest(work.path("questions")), read_manifest(work.path("embeddings"))
    if planned is not None and embedded is not None and planned.inputs.get("embeddings") != embedded.digest:
        run_stage(work, "select")


def _switch(work: Workspace, name: str, model_id: str | None, *, abort_above: float, now: datetime) -> Switched:
    before = _up_to_date(work)  # so that what is measured is the model's doing alone
    switch = plan_switch(work, str(live_contract_or_none(work.path("embeddings"))), name)
    state: State = "switched"
    if (earlier := restorable(work, switch.new_contract)) is not None:
        impact, state = compare(work, earlier), "restored"
        roll_back(work, switch.new_contract, switch.old_contract, now=now)
    else:
        try:
            impact = finish(work, switch, abort_above=abort_above, now=now)
        except NotCalibrated as error:
            raise InputsNotReady(f"labels stay with the model before, nothing was changed: {error}") from error
    after = _up_to_date(work)
    return Switched(
        state=state,
        model_id=model_id,
        old_contract=switch.old_contract,
        new_contract=switch.new_contract,
        faces=_published(work, "embeddings") or 0,
        faces_labelled=impact.labelled,
        faces_moved=len(impact.moves),
        identities={str(fate): count for fate, count in impact.fates.items()},
        questions_before=before,
        questions_after=after,
        at=now,
    )


def _up_to_date(work: Workspace) -> int:
    """Labels and questions by the model that labels now, as far as they are not; how many questions are planned."""
    export_decisions(work)
    return [run_stage(work, name).report.published for name in _LABELLING][-1]


def _published(work: Workspace, artifact: str) -> int | None:
    manifest = read_manifest(work.path(artifact))
    return None if manifest is None else Report.from_counts(manifest.counts).published
