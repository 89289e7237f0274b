"""A published gallery: who is known, for consumers that recognise people live. One folder, put once, never changed.

    index.faiss       flat index by inner product, unit vectors; in an encrypted root vectors.parquet, sealed rows
    rows.parquet      what each row of the index is: identity, mean or look, faces
    members.parquet   the faces that went into each row
    gallery.json      embedding contract, thresholds in cosines, counts, what it was made from
    SHA256SUMS        of the others; its own sha256 is the gallery's digest and names the folder

No names: a consumer that wants them asks whoever may say them.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from faceloop.clustering.index_file import write_index
from faceloop.export.gallery_denials import DENIED, Denials, mark_of
from faceloop.export.gallery_people import GalleryMember, GalleryRow, Templates
from faceloop.export.gallery_vectors import INDEX, SEALED, open_index, read_sealed, write_vectors
from faceloop.vision.arrays import Float32Array
from faceloop.vision.contract import EmbeddingContract
from facestore.diskfaults import disk_faults
from facestore.errors import ContractMismatch, DataError
from facestore.ids import JsonValue, canonical_json, file_sha256
from facestore.publish import sync_path, sync_tree
from facestore.records import schema_of
from facestore.vectors import check_vectors

SUMS, ABOUT, ROWS, MEMBERS = "SHA256SUMS", "gallery.json", "rows.parquet", "members.parquet"
DIGEST_HEX = 16  # of the digest, as the folder's name
_FORMAT = 1
Verdict = Literal["match", "uncertain", "stranger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Cosines of one contract: from `match` on it is the person, below `stranger` nobody known; stranger ≤ match."""

    match: float
    stranger: float
    impostor_mean: float  # how strangers resemble each other: a consumer with a larger gallery may ask for more
    impostor_sd: float

    def verdict(self, similarity: float) -> Verdict:
        if similarity >= self.match:
            return "match"
        return "uncertain" if similarity >= self.stranger else "stranger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A person of the gallery, by the most similar of their rows."""

    identity_id: str
    similarity: float  # cosine
    verdict: Verdict


class _About(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gallery_version: Literal[1]
    contract: EmbeddingContract
    contract_id: str
    thresholds: Thresholds
    rows: int
    identities: int
    rows_per_identity: int
    states: list[str]
    inputs: dict[str, str]


def write_gallery(
    folder: Path,
    templates: Templates,
    *,
    contract: EmbeddingContract,
    thresholds: Thresholds,
    states: Sequence[str],
    inputs: Mapping[str, str],
) -> str:
    """Fill an empty folder and sync it; returns the digest, of which equal content has an equal one.

    Raises DataError for vectors of another dimension than the contract's, or when nobody is in it.
    """
    if not templates.rows or templates.vectors.shape != (len(templates.rows), contract.dimension):
        raise DataError(
            f"gallery has {len(templates.rows)} rows and vectors {templates.vectors.shape}, expected at least one row "
            f"of dimension {contract.dimension}; confirm identities first, or publish proposed ones"
        )
    vectors = write_vectors(folder, templates)
    _write_rows(folder / ROWS, GalleryRow, templates.rows)
    _write_rows(folder / MEMBERS, GalleryMember, templates.members)
    of_identity: dict[str, int] = {}
    for row in templates.rows:
        of_identity[row.identity_id] = of_identity.get(row.identity_id, 0) + 1
    about: dict[str, JsonValue] = {
        "gallery_version": _FORMAT,
        "contract": asdict(contract),
        "contract_id": contract.contract_id,
        "thresholds": asdict(thresholds),
        "rows": len(templates.rows),
        "identities": len(of_identity),
        "rows_per_identity": max(of_identity.values()),
        "states": [*sorted(states)],
        "inputs": dict(inputs),
    }
    (folder / ABOUT).write_text(canonical_json(about) + "\n", encoding="utf-8")
    write_sums(folder, vectors)
    sync_tree(folder)
    sync_path(folder)
    return file_sha256(folder / SUMS)


class Gallery:
    """A gallery whose every file was checked; not shared between threads."""

    def __init__(
        self, folder: Path, *, denied: Path | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """`denied`: the folder of denials, unless it lies beside the gallery as on the shelf; `clock` gives UTC.

        Raises DataError for a file that is missing, fails its sha256 or does not fit the others.
        """
        self._folder, self._clock = folder, clock
        self._denials = Denials(denied if denied is not None else folder.parent / DENIED, self._identities_of)
        self.digest = verify_gallery(folder)
        try:
            about = _About.model_validate_json((folder / ABOUT).read_bytes())
        except ValidationError as error:
            raise DataError(f"{folder / ABOUT} is not what this version reads ({error.errors()[0]['msg']})") from error
        if about.contract.contract_id != about.contract_id:
            raise DataError(f"{folder / ABOUT}: contract_id does not belong to the contract; fetch the gallery again")
        self.contract, self.thresholds, self.inputs = about.contract, about.thresholds, about.inputs
        everybody = _column(folder / ROWS, "identity_id")
        self._rows_per_identity = about.rows_per_identity
        known, self._index = open_index(folder, vectors_of(folder), len(everybody))
        self.identities = tuple(everybody[row] for row in known if row < len(everybody))
        is_whole = vectors_of(folder) == SEALED or len(known) == len(everybody)  # sealed rows may be gone for good
        if not is_whole or self._index.dimension != self.contract.dimension:
            raise DataError(f"{folder}: index and id map differ in length or dimension; fetch the gallery again")

    def search(self, vectors: Float32Array, *, contract_id: str, people: int) -> list[list[Match]]:
        """The `people` most similar people for each unit vector of (q, dimension), best first.

        Who is denied at this moment (consent ended, restricted) is not among them; that is looked up with each search.
        Raises ContractMismatch for vectors of another embedding contract: their cosines would be noise; DataError for
        vectors that are not finite or not of unit length, and for a denial that cannot be read.
        """
        if contract_id != self.contract.contract_id:
            raise ContractMismatch(
                f"query is under contract {contract_id}, the gallery under {self.contract.contract_id}; embed with "
                "the gallery's recogniser, or take the gallery of yours"
            )
        check_vectors(vectors, "queries")
        denied = self._denials.identities(self._clock())
        found = self._index.nearest(vectors, (people + len(denied)) * self._rows_per_identity)
        return [
            self._people(rows.tolist(), similarities.tolist(), people, denied)
            for rows, similarities in zip(found.index, found.similarity, strict=True)
        ]

    def _identities_of(self, marks: frozenset[str]) -> frozenset[str]:
        """Whose rows hold a face of these marks."""
        members, rows = self._folder / MEMBERS, self._folder / ROWS
        with_face = zip(_column(members, "row"), _column(members, "face_id"), strict=True)
        hit = {row for row, face in with_face if mark_of(face) in marks}
        named = zip(_column(rows, "row"), _column(rows, "identity_id"), strict=True)
        return frozenset(identity for row, identity in named if row in hit)

    def _people(self, rows: list[int], similarities: list[float], people: int, denied: AbstractSet[str]) -> list[Match]:
        best: dict[str, float] = {}
        for row, similarity in zip(rows, similarities, strict=True):
            if self.identities[row] not in denied:
                best.setdefault(self.identities[row], similarity)
        ranked = sorted(best.items(), key=lambda found: (-found[1], found[0]))[:people]
        return [
            Match(identity_id=identity, similarity=similarity, verdict=self.thresholds.verdict(similarity))
            for identity, similarity in ranked
        ]


def verify_gallery(folder: Path) -> str:
    """The digest of a gallery whose files all have the sha256 that it says. Raises DataError at the first other one."""
    path = folder / SUMS
    if not path.is_file():
        raise DataError(f"{folder} is no gallery: {SUMS} is missing; fetch it again")
    lines = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines()]
    listed = {name: sha256 for sha256, _, name in lines}
    if (INDEX in listed) == (SEALED in listed):
        raise DataError(f"{path} names no vectors, or two files of them; fetch the gallery again")
    for name in (ABOUT, INDEX if INDEX in listed else SEALED, ROWS, MEMBERS):
        found = file_sha256(folder / name) if (folder / name).is_file() else "missing"
        if found != listed.get(name):
            raise DataError(f"{folder / name}: sha256 {found}, {SUMS} says {listed.get(name)}; fetch it again")
    return file_sha256(path)


def plain_gallery(folder: Path, to: Path) -> str:
    """A copy of a gallery in a new folder that consumers read without keys; returns its digest.

    It equals, byte for byte, what a root without encryption would publish. Raises DataError where a file is not what
    it should be or somebody in it was erased, StoreError without the keys or when the disk is full.
    """
    verify_gallery(folder)
    everybody = _column(folder / ROWS, "identity_id")
    with disk_faults("copy a gallery"):
        to.mkdir(parents=True)
        for name in (ABOUT, ROWS, MEMBERS):
            shutil.copyfile(folder / name, to / name)
        if vectors_of(folder) == INDEX:
            shutil.copyfile(folder / INDEX, to / INDEX)
        else:
            known, vectors = read_sealed(folder)
            if known != list(range(len(everybody))):
                raise DataError(f"{folder}: somebody in it was erased; publish a gallery again")
            write_index(to / INDEX, vectors)
        write_sums(to, INDEX)
        sync_tree(to)
    return file_sha256(to / SUMS)


def vectors_of(folder: Path) -> str:
    """The file that holds a gallery's vectors."""
    return SEALED if (folder / SEALED).is_file() else INDEX


def write_sums(folder: Path, vectors: str) -> None:
    """`SHA256SUMS` of a gallery whose vectors are in the file of this name."""
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in sorted((ABOUT, vectors, ROWS, MEMBERS)))
    (folder / SUMS).write_text(sums, encoding="utf-8")


def members_of(folder: Path) -> set[str]:
    """Faces that went into a gallery."""
    return set(_column(folder / MEMBERS, "face_id"))


def summary_of(folder: Path) -> dict[str, JsonValue]:
    """What gallery.json says, for people. Raises DataError where it is not there."""
    try:
        body = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no gallery ({error}); publish it again") from error
    return dict(body)


def _write_rows(path: Path, record: type, rows: Sequence[GalleryRow] | Sequence[GalleryMember]) -> None:
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(record))
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def _column(path: Path, name: str) -> list[str]:
    try:
        return [str(value) for value in pq.read_table(path, columns=[name])[name].to_pylist()]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch the gallery again") from error
