"""How the faces of an erasure were found: what its certificate says of that. Counts and references, no id of a face."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from facestore.errors import DataError
from facestore.ids import JsonValue

How = Literal["subject", "faces", "probe", "again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`subject`: an identity, a name or a face; `faces`: somebody knew each face; `probe`: by likeness to a photo, and
    somebody confirmed each candidate; `again`: by the references of an earlier erasure, after a restore."""

    how: How
    probe_id: str = ""  # of the probe, and empty for the others, as what follows is
    candidates_shown: int = 0
    candidates_confirmed: int = 0  # of which a face at least was
    faces_shown: int = 0  # all faces of the candidates; the page has pictures of the most alike
    faces_confirmed: int = 0
    confirmed_by: str = ""
    again_of: str = ""  # the earlier erasure's id

    def as_json(self) -> dict[str, JsonValue]:
        """For the certificate: without what says nothing."""
        plain: dict[str, JsonValue] = asdict(self)
        told = {"probe": plain.keys() - {"again_of"}, "again": {"how", "again_of"}}.get(self.how, {"how"})
        return {name: value for name, value in plain.items() if name in told}


BY_SUBJECT, BY_FACES = Finding(how="subject"), Finding(how="faces")


def read_finding(body: object) -> Finding:
    """From a plan; of one that does not say, by subject. Raises DataError for what is no finding."""
    if body is None:
        return BY_SUBJECT
    try:
        if not isinstance(body, Mapping):
            raise TypeError("no object")
        return Finding(**body)
    except TypeError as error:
        raise DataError(f"a plan says wrongly how its faces were found ({error}); name the faces again") from error
