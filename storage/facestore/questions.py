"""Questions to people and their answers, as values. What a question is about is the kind's own business (`subject`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

QuestionKind = Literal["same_person", "odd_ones_out", "who_is_this", "attributes", "boxes", "landmarks"]
KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)
QuestionState = Literal[
    "open",  # nobody has answered
    "unsettled",  # answered, and more answers are needed
    "disputed",  # answers contradict one another
    "settled",  # its decisions are in the log
    "no_answer",  # people cannot tell, or the pictures are of no use
    "withdrawn",  # moot: the answer is known from elsewhere, or what it was about is gone
]
CLOSED: tuple[QuestionState, ...] = ("settled", "no_answer", "withdrawn")  # nobody need be asked any more
TaskState = Literal["planned", "pushed", "withdrawn", "lost"]
AnnotationState = Literal["answered", "skipped", "deleted", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to ask people, with what the machine expects. Rows of the `questions` artifact, most worth first."""

    question_id: str  # ID_HEX hex digits of kind and faces: asked again it is the same question
    kind: QuestionKind
    subject: str  # canonical JSON of the kind's record: faces and identity ids, never names
    subset: str  # where its first face was seen
    reason: str  # snake_case: why it is asked
    reason_detail: str  # a few words with numbers: "1 of 3 models differ"; may be empty
    model_version: str  # of the run whose predictions it carries
    chance: float  # that the answer which is filled in is right, [0, 1]
    gain: float  # pairs of faces that an answer is expected to put right, >= 0
    seconds: float  # of a person, > 0
    needs: int  # annotators who must agree before it counts, >= 1
    expected: str | None  # honeypot: canonical JSON of the right answer; never leaves for the labelling tool
    rank: int  # place in the plan, from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewProject:
    """A small project of the labelling tool. `key` is ours and is written into it: project ids may be reused."""

    key: str  # unique
    instance: str  # which server
    project_id: int
    kind: QuestionKind
    round: int  # 1: first answers; 2 and more: further ones, to settle a question
    overlap: int  # answers wanted for each task
    config_sha256: str  # of the labelling config that we gave it
    model_version: str
    created_at: datetime  # UTC
    is_open: bool  # takes new tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTask:
    """One asking of one question. Planned here before it is made there, so that a kill doubles nothing."""

    question_id: str
    round: int
    project_key: str
    task_id: int | None  # of the tool, once it is made
    state: TaskState
    changed_at: datetime  # UTC
    asking: int = 1  # of this round: 2 and more after one was lost or withdrawn
    model_version: str = ""  # of what the tool's task has filled in


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationVersion:
    """What one annotator's answer said at one time. Never changed: an edit is the next version."""

    project_key: str
    unique_id: str  # names the annotation for ever; ids alone may be reused
    version: int  # from 1; the highest is how things stand
    annotation_id: int
    task_id: int
    question_id: str
    annotator: str  # opaque: INSTANCE/user id
    state: AnnotationState
    answer: str | None  # canonical JSON of the typed answer, where it was answered
    detail: str  # why it is unreadable
    updated_at: datetime  # UTC, the tool's clock
    lead_time_s: float | None  # that the annotator spent
    digest: str  # of what the tool holds: the same again is no new version
    seen_at: datetime  # UTC, ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What the answers to one question came to, and the decisions of the log that stand for it."""

    question_id: str
    state: QuestionState
    decision_ids: tuple[str, ...]  # in the log and not taken back
    changed_at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Somebody says that something changed. Never believed, only looked into."""

    hint_id: int | None  # given by the log
    project_id: int | None
    task_id: int | None
    annotation_id: int | None
    action: str
    received_at: datetime  # UTC
