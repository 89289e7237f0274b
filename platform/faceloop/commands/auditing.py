"""Doors: commands that show, give away or change what is known of people. Each leaves entries in the audit log.

One before (a killed command was begun, too) and one after, with its outcome and sums. What was typed is not kept, and
of a subject only its keyed reference. A door whose entry cannot be written stays shut.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from faceloop.commands.recording import LastLine, command_of, counts_of, ending_of, result_of, workspace_of
from faceloop.progress import complain
from faceloop.runner import Workspace
from facestore.errors import ConfigError, FaceloopError
from facestore.ids import JsonValue

WHO, PURPOSE = "FACELOOP_WHO", "FACELOOP_PURPOSE"

DOORS = {  # command → purpose, unless FACELOOP_PURPOSE says another
    "audit anchor": "accountability", "audit list": "accountability",
    "audit-labels": "labelling", "blame": "labelling", "report": "labelling", "flow": "labelling",
    "review push": "labelling", "review pull": "labelling", "reviews add": "labelling", "reviews draw": "labelling",
    "decisions add": "labelling", "decisions retract": "labelling", "decisions export": "labelling",
    "identities list": "labelling", "identities show": "labelling", "identities history": "labelling",
    "identities merge": "labelling", "identities split": "labelling", "identities rename": "labelling",
    "identities undo": "labelling", "serve-suggestions": "labelling", "decisions list": "labelling",
    "decisions conflicts": "labelling", "feedback take": "labelling", "feedback ask": "labelling",
    "simulate": "labelling",
    "run pack": "training", "run train": "training", "run train_attributes": "training", "run export": "training",
    "run evaluate": "evaluation", "release pull": "training", "release convert": "training",
    "release correct": "training", "release compact": "training", "releases promote": "training",
    "releases rollback": "training", "releases evaluate": "evaluation", "train-node": "training", "sweep": "training",
    "models gate": "evaluation", "models promote": "recognition", "models rollback": "recognition",
    "models switch": "recognition", "migrate-model": "recognition", "calibrate": "recognition",
    "watch measure": "evaluation", "watch report": "evaluation", "jobs submit": "training", "jobs work": "training",
    "gallery publish": "recognition", "gallery roll-back": "recognition", "gallery show": "recognition",
    "gallery export": "recognition",
    "restrict find": "data_subject_request", "restrict apply": "data_subject_request",
    "restrict lift": "data_subject_request", "restrict certificate": "data_subject_request",
    "keys init": "security", "keys rotate": "security", "keys seal": "security", "keys pictures": "security",
    "store sweep": "storage_limitation",
}  # fmt: skip
DOOR_GROUPS = {  # every command of these
    "consent": "data_subject_request", "erase": "data_subject_request", "mine": "labelling",
    "retention": "storage_limitation",
}  # fmt: skip


@contextmanager
def audited(argv: Sequence[str], environ: Mapping[str, str]) -> Iterator[None]:
    """Around a command. Raises StoreError where a door's entry cannot be written, ConfigError for a wrong WHO."""
    command = command_of(argv)
    purpose = purpose_of(command)
    if purpose is None or "--help" in argv:
        yield
        return
    purpose = environ.get(PURPOSE) or purpose
    _append(argv, environ, command, purpose, {"state": "begun"}, None)
    out = LastLine(sys.stdout)
    sys.stdout = out
    ended_by: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended_by = error
        raise
    finally:
        sys.stdout = out.stream
        said = result_of(out.last)
        exit_code, error_name = ending_of(ended_by)
        what: dict[str, JsonValue] = {"state": "ended", "exit_code": exit_code, **sums_of(said)}
        if error_name is not None:
            what["failed"] = True
        try:
            _append(argv, environ, command, purpose, what, said.get("subject") or said.get("subject_id"))
        except FaceloopError as error:  # its beginning stands in the log
            complain(environ, f"the end of this command is not in the audit log: {error}")


def purpose_of(command: str) -> str | None:
    """What a door is used for; None: no door."""
    return DOORS.get(command) or DOOR_GROUPS.get(command.partition(" ")[0])


def sums_of(said: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Numbers of a result, of groups only the sum: what a group's members are called may be somebody's word."""
    found: dict[str, JsonValue] = {}
    for name, value in counts_of(said).items():
        if isinstance(value, dict):
            numbers = [one for one in value.values() if isinstance(one, int) and not isinstance(one, bool)]
            found[name] = sum(numbers)
        else:
            found[name] = value
    return {name: value for name, value in found.items() if name.isascii() and name.isidentifier() and name.islower()}


def who_of(environ: Mapping[str, str]) -> str:
    """Who acts: as FACELOOP_WHO says, else the number of the account."""
    return environ.get(WHO) or f"uid:{os.getuid()}"


def _append(
    argv: Sequence[str],
    environ: Mapping[str, str],
    command: str,
    purpose: str,
    what: Mapping[str, JsonValue],
    subject: JsonValue,
) -> None:
    try:
        work = workspace_of(argv, environ)
    except ConfigError:
        return  # the command says so itself, and does nothing
    if not _has_catalogue(work):
        return  # nobody's data is here yet
    from facestore.auditlog import AuditLog
    from facestore.peppers import known_pepper
    from facestore.refs import subject_ref

    ref = (
        subject_ref(known_pepper(work.ledger_url(), work.root), subject)
        if isinstance(subject, str) and subject
        else None
    )
    log = AuditLog(work.ledger_url())
    try:
        log.append(who=who_of(environ), action=command, purpose=purpose, subject_ref=ref, what=what)
    finally:
        log.close()


def _has_catalogue(work: Workspace) -> bool:
    url = work.ledger_url()
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).is_file()
