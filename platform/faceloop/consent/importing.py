"""Consents from a CSV file, as an office keeps them: one row each, all of them taken or none."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from facestore.consenting import ConsentEvent, given
from facestore.errors import DataError
from facestore.refs import subject_ref

REQUIRED = (
    "consent_id", "subject", "controller", "jurisdiction", "purposes", "data_categories", "notice_version",
    "notice_sha256", "evidence_sha256", "method", "given_at",
)  # fmt: skip
OPTIONAL = ("expires_at", "retain_until", "guardian")


def read_consents(path: Path, pepper: bytes, *, by: str) -> list[ConsentEvent]:
    """The consents of a file. Lists stand in one cell, separated by `;`; times are ISO 8601, UTC where none is said.

    `subject` and `guardian` are whatever key the office knows a person by; only its keyed hash is kept. Raises
    DataError, which names the row and the column, never a value.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            known, header = {*REQUIRED, *OPTIONAL}, set(rows.fieldnames or ())
            if header - known or set(REQUIRED) - header:
                raise DataError(
                    f"{path.name}: columns must be {', '.join(REQUIRED)}, and may be {', '.join(OPTIONAL)}; some are "
                    "missing, or others stand there"
                )
            return [_event(row, number, pepper, by) for number, row in enumerate(rows, start=1)]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as CSV ({type(error).__name__}); save it as UTF-8") from error


def _event(row: dict[str, str | None], number: int, pepper: bytes, by: str) -> ConsentEvent:
    cells = {name: (value or "").strip() for name, value in row.items() if name in {*REQUIRED, *OPTIONAL}}
    if missing := [name for name in REQUIRED if not cells.get(name)]:
        raise DataError(f"row {number}: {missing[0]} is empty; nothing was written")
    guardian = cells.get("guardian")
    try:
        return given(
            consent_id=cells["consent_id"],
            subject_ref=subject_ref(pepper, cells["subject"]),
            controller=cells["controller"],
            jurisdiction=cells["jurisdiction"],
            purposes=_listed(cells["purposes"]),
            data_categories=_listed(cells["data_categories"]),
            notice_version=cells["notice_version"],
            notice_sha256=cells["notice_sha256"],
            evidence_sha256=cells["evidence_sha256"],
            method=cells["method"],
            said_at=moment(cells["given_at"], "given_at"),
            expires_at=_optional(cells.get("expires_at"), "expires_at"),
            retain_until=_optional(cells.get("retain_until"), "retain_until"),
            guardian_ref=subject_ref(pepper, guardian) if guardian else None,
            said_by=by,
        )
    except DataError as error:
        raise DataError(f"row {number}: {error}") from error


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _optional(text: str | None, name: str) -> datetime | None:
    return moment(text, name) if text else None


def moment(text: str, name: str) -> datetime:
    """An ISO 8601 time, UTC where no zone is said. Raises DataError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{name} must be an ISO 8601 time; nothing was written") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
