"""Another recogniser for a root that people have worked on: tried in the shadow, measured, then exchanged or dropped.

The shadow is the same root with embeddings, clusters and assignments of its own below `migration/`, started from the
live assignments, so that identities keep their ids; decisions are replayed as in any run. Finishing exchanges the three
folders; the old ones stay in `migration/previous` until the next switch, for the way back.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from faceloop.identity.impact import Impact
from faceloop.labelling_model import contract_of_pack, is_one_of_ours, live_contract_or_none
from faceloop.params import Paths, section
from faceloop.runner import SWITCH_JOURNAL, Workspace, hold, run_stage
from faceloop.shadow_impact import compare, keep_ids
from faceloop.stage import FLOW
from faceloop.stages import embed
from faceloop.vision.packs import PROMOTED
from facestore.errors import ConfigError, StageError
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange, pending_exchange
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.leases import Fence
from facestore.ledger import StageRun, record_in
from facestore.publish import is_intact, read_manifest, recover, sync_path, write_whole

SWITCHED = ("embeddings", "clusters", "assignments")
_FOLDER = "migration"
_LEDGER_NAME = "migrate-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """From the contract that is live to that of another pack."""

    old_contract: str
    new_contract: str
    new_pack: str  # as params spell it


def plan_switch(work: Workspace, old: str, new: str) -> Switch:
    """`old` is the contract id or the pack that is live, `new` a pack. Completes a switch that was cut short.

    Raises ConfigError when `old` is not what is live, or `new` is the same recogniser; StageError without embeddings.
    """
    complete_pending(work)
    live = live_contract(work.path("embeddings"))
    if (found := live if old == live else contract_of(work, old)) != live:
        raise ConfigError(f"{old} is embedding contract {found}, but live is {live}; name the pack that is live")
    if (new_contract := contract_of(work, new)) == live:
        raise ConfigError(f"{new} is embedding contract {live}, which is live already; name another pack")
    return Switch(old_contract=live, new_contract=new_contract, new_pack=new)


def contract_of(work: Workspace, pack: str) -> str:
    """The embedding contract id of a pack, which may be `promoted`, with the other settings of `embed.model`."""
    return contract_of_pack(work.tree, pack, work.model_places())


def live_contract(embeddings: Path) -> str:
    """The contract id of published embeddings. Raises StageError where there are none."""
    if (found := live_contract_or_none(embeddings)) is None:
        raise StageError(f"{embeddings} holds no published embeddings; run the flow first")
    return found


def dry_run(work: Workspace, switch: Switch) -> Impact:
    """Embed, cluster and identify in the shadow, as far as that was not done, and compare. What is live stays as it is.

    Writes `migration/impact.json`. Raises what `run_stage` raises.
    """
    shadow = _shadow(work, switch)
    _reuse_embeddings(work, shadow, switch)
    for name in ("embed", "cluster"):
        run_stage(shadow, name)
    _start_from(work.path("assignments"), shadow.path("assignments"))
    run_stage(shadow, "identify")
    impact = compare(work, shadow)
    spelled = canonical_json({"switch": asdict(switch), "fates": _fates(impact), "impact": _json(impact)})
    write_whole(work.root / _FOLDER / "impact.json", spelled + "\n")
    return impact


def finish(work: Workspace, switch: Switch, *, abort_above: float, now: datetime) -> Impact:
    """Put the shadow to use, all or nothing. `abort_above` is the largest share of labelled faces that may move.

    Raises ConfigError while params name another pack, StageError when too many faces would move or a standing decision
    would be broken.
    """
    _refuse_other_pack(work, switch.new_pack)
    impact = dry_run(work, switch)
    share = max(impact.moved_share, impact.confirmed_moved_share)
    if share > abort_above:
        raise StageError(
            f"{share:.1%} of the labelled or confirmed faces would change their identity, above {abort_above:.1%}; "
            f"look at {work.root / _FOLDER / 'impact.json'}, then raise --abort-above or keep the old model"
        )
    if impact.violated:
        raise StageError(
            f"{len(impact.violated)} standing decisions would be broken, first {impact.violated[0]}; nothing was "
            "exchanged, please report this"
        )
    shadow = _shadow(work, switch)
    turns = [Turn(waiting=shadow.path(name), live=work.path(name), aside=_previous(work, name)) for name in SWITCHED]
    _exchange(work, turns, _ledger_row(work, turns, "finish", switch.old_contract, switch.new_contract, impact, now))
    return impact


def roll_back(work: Workspace, old: str, new: str, *, now: datetime) -> None:
    """Bring back what lived before the switch from `old` to `new`. Ids minted since stay as tombstones.

    Raises StageError when there is no such switch to take back, ConfigError while params name another pack than `old`.
    """
    complete_pending(work)
    before, live = (live_contract(path) for path in (_previous(work, "embeddings"), work.path("embeddings")))
    for name, contract in ((old, before), (new, live)):
        if name != contract and contract_of(work, name) != contract:
            raise StageError(f"the last switch was from {before} to {live}; {name} is neither, name its two packs")
    if old != before:
        _refuse_other_pack(work, old)
    keep_ids(_previous(work, "assignments"), work.path("assignments"))
    turns = [
        Turn(waiting=_previous(work, name), live=work.path(name), aside=work.root / _FOLDER / name) for name in SWITCHED
    ]
    _exchange(work, turns, _ledger_row(work, turns, "roll_back", live, before, None, now))


def restorable(work: Workspace, contract: str) -> Workspace | None:
    """The root as it was before the last switch, where `roll_back` would bring back all that is known now.

    That is: vectors of `contract`, and the same faces, crops, footage and decisions then as now. None otherwise.
    """
    before = replace(
        work, paths=work.paths.model_copy(update={name: f"{_FOLDER}/previous/{name}" for name in SWITCHED})
    )
    if live_contract_or_none(before.path("embeddings")) != contract:
        return None
    for name in SWITCHED:
        manifest = read_manifest(before.path(name))
        if manifest is None or not is_intact(before.path(name), manifest):
            return None
        for artifact, digest in manifest.inputs.items():
            known = read_manifest(before.path(artifact)) if artifact in Paths.model_fields else None
            if known is not None and known.digest != digest:
                return None
    return before


def complete_pending(work: Workspace) -> bool:
    """End an exchange that was cut short; False where none was. Raises LeaseHeld while a stage runs."""
    if pending_exchange(work.root / SWITCH_JOURNAL) is None:
        return False
    with _no_stage_runs(work) as fenced:
        return _complete(work, fenced)


def _shadow(work: Workspace, switch: Switch) -> Workspace:
    tree = json.loads(json.dumps(work.tree))
    tree["embed"]["model"]["pack"] = switch.new_pack
    places = {name: f"{_FOLDER}/{name}" for name in SWITCHED}
    return replace(work, tree=tree, paths=work.paths.model_copy(update=places))


def _previous(work: Workspace, artifact: str) -> Path:
    return work.root / _FOLDER / "previous" / artifact


def _reuse_embeddings(work: Workspace, shadow: Workspace, switch: Switch) -> None:
    """On the way back to a model, what it embedded before the last switch need not be embedded again."""
    kept, wanted = _previous(work, "embeddings"), shadow.path("embeddings")
    if live_contract_or_none(wanted) not in (None, switch.new_contract):  # of a switch that was given up
        for name in SWITCHED:
            shutil.rmtree(shadow.path(name), ignore_errors=True)
    if read_manifest(wanted) is None and live_contract_or_none(kept) == switch.new_contract:
        _start_from(kept, wanted)


def _start_from(live: Path, shadow: Path) -> None:
    """The shadow starts from what was published before: hard links, which no stage writes to."""
    recover(live)
    if read_manifest(live) is None:
        raise StageError(f"{live} was never published; run the flow first")
    waiting = shadow.with_name(shadow.name + ".copy")
    shadow.parent.mkdir(parents=True, exist_ok=True)
    for leftover in (waiting, shadow):
        if leftover.exists():
            shutil.rmtree(leftover)
    shutil.copytree(live, waiting, copy_function=os.link)
    waiting.rename(shadow)
    sync_path(shadow.parent)


def _refuse_other_pack(work: Workspace, pack: str) -> None:
    found = section(work.tree, "embed", embed.Params).model.pack
    if found != pack and not (found == PROMOTED and is_one_of_ours(pack, work.model_places())):
        raise ConfigError(
            f"embed.model.pack = {found!r}: the next run would embed everything with it again; "
            f"write `pack: {pack}` under embed.model in params.yaml first"
        )


def _exchange(work: Workspace, turns: list[Turn], note: JsonValue) -> None:
    """A kill leaves the journal, and the next call completes it."""
    with _no_stage_runs(work) as fenced:
        with fenced():
            begin_exchange(work.root / SWITCH_JOURNAL, turns, note)
        _complete(work, fenced)


@contextmanager
def _no_stage_runs(work: Workspace) -> Iterator[Callable[[], Fence]]:
    """Holds the lease of every stage that the switch concerns; gives a turn to write in which all are proved."""
    with ExitStack() as stack:
        first, *others = [stack.enter_context(hold(work, stage)) for stage in FLOW[FLOW.index("embed") :]]
        yield lambda: first.fenced(*(other.lease for other in others))


def _complete(work: Workspace, fenced: Callable[[], Fence]) -> bool:
    journal = work.root / SWITCH_JOURNAL
    with fenced() as session:
        if (note := pending_exchange(journal)) is None:
            return False
        complete_exchange(journal)
        record_in(session, _run_of(work, note))
    with fenced():  # only now, so that no exchange ends without its row
        end_exchange(journal)
    return True


def _ledger_row(
    work: Workspace,
    turns: list[Turn],
    direction: Literal["finish", "roll_back"],
    old_contract: str,
    new_contract: str,
    impact: Impact | None,
    now: datetime,
) -> JsonValue:
    digests: list[dict[str, JsonValue]] = []
    for places in ([turn.live for turn in turns], [turn.waiting for turn in turns]):
        manifests = {name: read_manifest(place) for name, place in zip(SWITCHED, places, strict=True)}
        digests.append({name: manifest.digest for name, manifest in manifests.items() if manifest is not None})
    counts: JsonValue = {} if impact is None else {**_fates(impact), "faces_moved": len(impact.moves)}
    return {
        "params": {"direction": direction, "old_contract": old_contract, "new_contract": new_contract},
        "inputs": digests[0],
        "outputs": digests[1],
        "counts": counts,
        "published_at": now.isoformat(),
    }


def _run_of(work: Workspace, note: JsonValue) -> StageRun:
    if not isinstance(note, dict):
        raise StageError(f"{work.root / SWITCH_JOURNAL} does not say what it was for; look at the folders beside it")
    return StageRun(
        run_key=digest_of({"stage": _LEDGER_NAME, **note}),
        stage=_LEDGER_NAME,
        params=note["params"],
        inputs=note["inputs"],
        outputs=note["outputs"],
        counts=note["counts"],
        timings={},
        published_at=datetime.fromisoformat(str(note["published_at"])),
        wall_s=0.0,
    )


def _fates(impact: Impact) -> dict[str, JsonValue]:
    return {str(fate): count for fate, count in impact.fates.items()}


def _json(impact: Impact) -> JsonValue:
    spelled: JsonValue = json.loads(json.dumps(asdict(impact)))
    return spelled
