"""What people said of faces, with their embeddings, split by person. No torch here."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.release.splits import split_of
from faceloop.training.attributes.attribute_params import TrainAttributesParams
from faceloop.training.attributes.targets import Answer, Chosen, Float32Array, choose_heads, target_matrix
from facestore.errors import ContractMismatch
from facestore.records import Assignment, AttributeLabel, Face, FaceEmbedding, Split
from facestore.tables import column_matrix, read_columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Items by id, sorted: faces, or tracklets. Targets as `targets.target_matrix` of the chosen heads."""

    item_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    splits: tuple[Split, ...]
    targets: Float32Array
    chosen: Chosen

    def rows(self, split: Split) -> list[int]:
        """Places of a split's items."""
        return [row for row, its in enumerate(self.splits) if its == split]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """The tables as they are now: every face with an embedding, and what was said of any."""

    face_ids: tuple[str, ...]  # sorted
    vectors: Float32Array  # (faces, D), unit
    contract_id: str | None
    tracklets: Mapping[str, str]
    times_ms: Mapping[str, int]
    crop_keys: Mapping[str, str]
    answers: tuple[Answer, ...]
    dropped: Counter[str]
    labels: int  # answers that came in


def read_known(
    faces: Path, embeddings: Path, assignments: Path, withheld: Mapping[str, str] = MappingProxyType({})
) -> Known:
    """Answers about faces that have a vector and a person; the others are counted by reason.

    `withheld`: footage that may not be trained on, with the reason: its vectors are left out with their answers.

    Raises ContractMismatch where embeddings of several models lie together.
    """
    vectors = read_columns(embeddings, "faces", FaceEmbedding, ("face_id", "footage_id", "contract_id", "embedding"))
    held = pc.is_in(vectors["footage_id"], value_set=pa.array(sorted(withheld), pa.string()))
    vectors, theirs = vectors.filter(pc.invert(held)), vectors.filter(held)
    vectors = vectors.sort_by("face_id")
    contracts = sorted(vectors["contract_id"].unique().to_pylist())
    if len(contracts) > 1:
        raise ContractMismatch(f"embeddings of {len(contracts)} models lie together: {contracts}; run embed again")
    face_ids = vectors["face_id"].to_pylist()
    rows = read_columns(faces, "faces", Face, ("face_id", "tracklet_id", "pts_ms", "crop_key"))
    rows = rows.filter(pc.is_in(rows["face_id"], value_set=pa.array(face_ids, pa.string()))).to_pylist()
    people = read_columns(assignments, "assignments", Assignment, ("face_id", "identity_id")).to_pylist()
    person_of = {row["face_id"]: row["identity_id"] for row in people if row["identity_id"] is not None}
    said = read_columns(assignments, "attributes", AttributeLabel, ("face_id", "name", "value")).to_pylist()
    has_vector = set(face_ids)
    held_back = dict(zip(theirs["face_id"].to_pylist(), theirs["footage_id"].to_pylist(), strict=True))
    dropped: Counter[str] = Counter()
    answers = []
    for row in said:
        if row["face_id"] in held_back:
            dropped[withheld[held_back[row["face_id"]]]] += 1
        elif row["face_id"] not in has_vector:
            dropped["no_embedding"] += 1
        elif row["face_id"] not in person_of:
            dropped["unknown_person"] += 1  # might be anybody of the test split
        else:
            person = person_of[row["face_id"]]
            answers.append(Answer(item=row["face_id"], person=person, name=row["name"], value=row["value"]))
    return Known(
        face_ids=tuple(face_ids),
        vectors=column_matrix(vectors, "embedding"),
        contract_id=contracts[0] if contracts else None,
        tracklets={row["face_id"]: row["tracklet_id"] for row in rows},
        times_ms={row["face_id"]: row["pts_ms"] for row in rows},
        crop_keys={row["face_id"]: row["crop_key"] for row in rows if row["crop_key"] is not None},
        answers=tuple(sorted(answers, key=lambda one: (one.item, one.name, one.value))),
        dropped=dropped,
        labels=len(said),
    )


def labelled(answers: Sequence[Answer], params: TrainAttributesParams, names: Iterable[str] | None = None) -> Labelled:
    """Items with an answer that counts. A person's split depends on its id and the seed: it holds over runs.

    `names`: only these heads.
    """
    people = {answer.person for answer in answers}
    split = {
        person: split_of(person, seed=params.seed, val_share=params.val_share, test_share=params.test_share)
        for person in people
    }
    wanted = [head for head in params.heads if names is None or head.name in set(names)]
    chosen = choose_heads(answers, split, wanted, params.support, has_class_weights=params.has_class_weights)
    person_of = {answer.item: answer.person for answer in chosen.answers}
    items = tuple(sorted(person_of))
    return Labelled(
        item_ids=items,
        person_ids=tuple(person_of[item] for item in items),
        splits=tuple(split[person_of[item]] for item in items),
        targets=target_matrix(items, chosen.answers, chosen.heads),
        chosen=chosen,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAnswers:
    """What holds of tracklets: a word on any face counts for its clip, unless another face says otherwise."""

    answers: tuple[Answer, ...]
    disagreeing: int  # clips and attributes


def clip_answers(known: Known, names: Iterable[str]) -> ClipAnswers:
    """Answers by tracklet. Its person is that of most of its answered faces, the smallest id of equals."""
    wanted = set(names)
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    people: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in known.answers:
        if answer.name in wanted:
            tracklet = known.tracklets[answer.item]
            values[tracklet, answer.name].add(answer.value)
            people[tracklet][answer.person] += 1
    person_of = {clip: min(counts, key=lambda who: (-counts[who], who)) for clip, counts in people.items()}
    agreed = {key: said for key, said in values.items() if len(said) == 1}
    return ClipAnswers(
        answers=tuple(
            Answer(item=clip, person=person_of[clip], name=name, value=min(said))
            for (clip, name), said in sorted(agreed.items())
        ),
        disagreeing=len(values) - len(agreed),
    )


def clip_vectors(known: Known, clips: Sequence[str], *, most_faces: int) -> Float32Array:
    """(clips, T, D): a tracklet's embeddings in time order, then rows of zeros."""
    members: dict[str, list[tuple[int, str]]] = defaultdict(list)
    wanted = set(clips)
    for face in known.face_ids:
        if (clip := known.tracklets[face]) in wanted:
            members[clip].append((known.times_ms[face], face))
    places = {face: row for row, face in enumerate(known.face_ids)}
    longest = min(most_faces, max((len(faces) for faces in members.values()), default=1))
    found = np.zeros((len(clips), longest, known.vectors.shape[1]), np.float32)
    for row, clip in enumerate(clips):
        chosen = [places[face] for _, face in sorted(members[clip])[:longest]]
        found[row, : len(chosen)] = known.vectors[chosen]
    return found
