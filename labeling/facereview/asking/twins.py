"""Questions about the same two groups of faces: one of them is enough, for its answer tells the others' too."""

from collections.abc import Mapping

from facereview.kinds import SamePerson, WhoIsThis, asked_faces, subject_of
from facestore.questions import Question

Topic = tuple[str, str, frozenset[str]]


def topic_of(question: Question, group_of_face: Mapping[str, str]) -> Topic | None:
    """What the question is about as groups (clusters, say); None where it has no twins.

    The two groups of a pair, or the probe's group and those of its candidates. Pairs inside a group, grids of members
    and single faces have none: two such questions of a group ask different things. Honeypots must not be missed.
    """
    if question.expected is not None:
        return None
    subject = subject_of(question)
    if not isinstance(subject, SamePerson | WhoIsThis):
        return None
    groups = [group_of_face.get(face) for face in asked_faces(subject)]
    known = [group for group in groups if group is not None]
    if len(known) < len(groups) or len(set(known)) < 2:
        return None
    first = known[0] if isinstance(subject, WhoIsThis) else ""
    return question.kind, first, frozenset(known)
