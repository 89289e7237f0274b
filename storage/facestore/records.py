"""The nouns of the platform and their Arrow schemas: what every table holds, in which unit.

A record is a frozen dataclass; `schema_of(Record)` gives its declared Arrow schema. Column order is field order.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, Literal, TypeVar

import pyarrow as pa

from facestore.decisions import Contradiction, Decision, IdentityEvent, Review
from facestore.derivedrecords import GalleryVector as GalleryVector
from facestore.derivedrecords import HardPair as HardPair
from facestore.questions import Question

FootageKind = Literal["video", "image"]
IdentityState = Literal["unknown", "proposed", "confirmed", "rejected", "ignored"]
LabelSource = Literal["human", "propagated", "auto"]
Split = Literal["train", "val", "test"]
ProposalKind = Literal["merge", "split", "outlier"]
MEDIA_ERASED: Final = "media_erased"  # flag of footage that shows others than who was erased: its rows stay


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """One media file, identified by its bytes."""

    footage_id: str  # sha256 of the bytes, hex
    batch: str  # partition that later stages work by
    uri: str  # first location, relative to the source, POSIX
    locations: tuple[str, ...]  # every location with these bytes, sorted
    size_bytes: int
    kind: FootageKind
    width: int  # px, as displayed (rotation applied)
    height: int
    rotation: int  # degrees clockwise that a player must turn the picture: 0, 90, 180, 270
    fps: float | None  # average; None for images
    duration_s: float | None
    frames: int | None  # that the container promises
    codec: str
    captured_at: datetime | None  # UTC
    source: str
    subset: str  # album, camera or session: the prior for clustering
    consent_id: str | None
    keys: tuple[str, ...]  # `kind=value` of the source manifest, sorted: what its faces may share with others
    flags: tuple[str, ...]  # low_resolution, low_frame_rate, variable_frame_rate, missing_duration …


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One input that a stage did not publish, and why."""

    stage: str
    item: str  # the location, footage_id or face_id
    reason: str  # snake_case code
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What decoding one footage gave."""

    footage_id: str
    status: Literal["read", "partial", "rejected"]
    reason: str | None
    frames_promised: int | None
    frames_decoded: int
    frames_looked_at: int  # sampled and kept, i.e. the detector saw them
    frames_near_duplicate: int
    scene_cuts: int
    faces: int
    faces_rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One detection. `rejected` names why it is not used, or is null."""

    face_id: str
    footage_id: str
    subset: str
    pts_ms: int
    bbox: tuple[float, ...]  # x1, y1, x2, y2, px, displayed picture
    landmarks: tuple[float, ...]  # 5 × (x, y), px: image-left eye, right eye, nose, mouth left, right
    det_score: float
    tracklet_id: str
    is_best_shot: bool
    size_px: float  # √(width × height) of the box
    sharpness: float  # [0, 1]
    brightness: float  # mean luma, [0, 1]
    contrast: float  # standard deviation of luma, [0, 1]
    yaw: float  # degrees
    pitch: float
    roll: float
    occlusion: float  # estimate, [0, 1]
    quality: float  # [0, 1]
    crop_key: str | None  # batch/face_id in the crop stores; null without a crop
    detector: str  # pack id
    rejected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceEmbedding:
    """A unit vector of one crop under one embedding contract."""

    face_id: str
    tracklet_id: str
    footage_id: str
    contract_id: str
    embedding: tuple[float, ...]  # float32[dim], unit length


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A crop that nearly repeats another of its subset: not a second look at the person."""

    face_id: str
    duplicate_of: str
    similarity: float  # cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackletTemplate:
    """Quality-weighted mean of a tracklet's embeddings, renormalised."""

    tracklet_id: str
    footage_id: str
    subset: str
    contract_id: str
    faces: int  # embeddings in the template
    weight: float  # sum of their qualities
    quality: float  # best quality among them, [0, 1]
    coherence: float  # lowest cosine of a member to the template
    best_face_id: str
    embedding: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Machine's guess for one face in one run."""

    face_id: str
    tracklet_id: str
    cluster_id: int  # -1: not clustered
    confidence: float  # [0, 1]
    status: str  # clustered, singleton, or why not: low_quality, not_a_face, ignored, no_embedding …
    key_group: int  # faces of one number are tied by an external key; -1: none
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNode:
    """What was clustered, kept so that the next run need only look at what is new."""

    node_id: str  # the tracklet, or a face of a tracklet that people took apart
    cluster_id: int  # -1: not clustered
    subcentre: int  # part of the cluster that linkage joined, numbered over all clusters; -1: not clustered
    confidence: float
    hubness: float  # taken off its similarities
    drop_reason: str | None
    template_crc: int  # CRC-32 of its vector: another one makes it a new node


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTie:
    """A constraint that a clustering obeyed."""

    first_node_id: str
    second_node_id: str
    is_same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Something about clusters that a person should look at."""

    kind: ProposalKind
    first_cluster: int
    second_cluster: int  # equal to the first for split and outlier
    first_face_id: str  # best shots to show
    second_face_id: str
    score: float  # how strongly proposed, larger is stronger
    faces: int  # that the answer would move
    reason: str  # snake_case
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which identity a face has, how sure, by whom."""

    face_id: str
    identity_id: str | None
    state: IdentityState
    confidence: float
    source: LabelSource
    decision_id: str | None  # the human decision that the label rests on
    via: str | None  # how it came here: face, tracklet, key, cluster; null for the machine's own


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeLabel:
    """What a face is said to be (a name of an attribute, its value), by whom, and how the word came here."""

    face_id: str
    name: str
    value: str
    source: LabelSource  # human on the face that people looked at, else propagated
    decision_id: str
    via: str  # face, tracklet, key, cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity ever minted. Retired ones stay, so that an id is never reused."""

    identity_id: str
    is_active: bool
    seed_face_id: str
    faces: int
    tracklets: int
    footage: int
    subsets: int
    best_face_id: str
    mean_confidence: float
    confirmed_faces: int  # with state confirmed
    name: str | None  # an attribute that people give; never a key
    successor: str | None  # who took over the faces of a retired identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSample:
    """One record of a release and where it came from."""

    split: Split
    shard: str
    row: int
    face_id: str
    footage_id: str
    identity_id: str
    class_index: int  # 0 … classes-1 over the train split; -1 in val and test
    confidence: float
    quality: float
    sha256: str


Record = TypeVar(
    "Record", Footage, Rejection, Reading, Face, FaceEmbedding, NearDuplicate, TrackletTemplate, Cluster, Assignment,
    Identity, ClusterNode, ClusterTie, Proposal, Decision, Contradiction, IdentityEvent, Review,
    ReleaseSample, AttributeLabel, Question, HardPair, GalleryVector,
)  # fmt: skip

_VECTOR_FIELDS = {"bbox": 4, "landmarks": 10}
_ARROW = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float32(),
    "bool": pa.bool_(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "tuple[str, ...]": pa.list_(pa.string()),
}
_DOUBLES = {"fps", "duration_s"}


def _arrow_type(name: str, annotation: object) -> pa.DataType:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    if not isinstance(annotation, type):
        text = str(annotation)
    text = text.replace(" | None", "").replace("datetime.datetime", "datetime")
    if name in _DOUBLES:
        return pa.float64()
    if text == "tuple[float, ...]":
        return pa.list_(pa.float32(), _VECTOR_FIELDS.get(name, -1))
    return _ARROW.get(text, pa.string())  # Literal types are strings


def schema_of(record: type) -> pa.Schema:
    """The declared Arrow schema of a record type; null is allowed only where the type says `| None`."""
    columns = [
        pa.field(field.name, _arrow_type(field.name, field.type), nullable="None" in str(field.type))
        for field in fields(record)
    ]
    return pa.schema(columns)
