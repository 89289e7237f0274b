"""What people said so far, read from the logs: what every command on identities starts from."""

from dataclasses import dataclass

from faceloop.decision_tables import Logs, policy_of, read_logs
from faceloop.identity.current import Current, read_current
from faceloop.identity.edits import Known
from faceloop.identity.resolve import Resolution
from faceloop.runner import Workspace
from facestore.errors import StageError
from facestore.publish import read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Labels now, both logs, and which decisions stand."""

    current: Current
    logs: Logs
    resolution: Resolution

    def known(self) -> Known:
        """What edits are planned on."""
        return self.current.known(self.resolution.effective)


def read_word(work: Workspace) -> Word:
    """Raises StageError when identify has not run, and StoreError when the logs cannot be read."""
    if read_manifest(work.path("assignments")) is None:
        raise StageError(f"no identities in {work.root}: run the flow up to identify first")
    logs = read_logs(work)
    return Word(
        current=read_current(faces=work.path("faces"), assignments=work.path("assignments"), events=logs.events),
        logs=logs,
        resolution=logs.resolved(policy_of(work)),
    )
