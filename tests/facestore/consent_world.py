"""Consents given, narrowed and taken back at random, jobs that use footage under them, and a judge in plain Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from sqlalchemy import Engine

from facestore.catalogue import open_catalogue, writing
from facestore.consentbasis import Basis, Material, prove, read_basis
from facestore.consenting import PURPOSES, ConsentEvent, Purpose, given, withdrawn
from facestore.consents import insert_events
from facestore.errors import ConsentChanged
from facestore.ids import sha256_hex

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_serial = count()


def a_consent(consent_id: str, purposes: tuple[str, ...] = PURPOSES, **changed: object) -> ConsentEvent:
    """A consent of a subject of its own, given long ago; each call is another event."""
    fields: dict[str, object] = {
        "consent_id": consent_id,
        "subject_ref": sha256_hex(consent_id.encode()),
        "controller": "Example",
        "jurisdiction": "DE",
        "purposes": purposes,
        "data_categories": ("face_picture", "face_template"),
        "notice_version": "1",
        "notice_sha256": "a" * 64,
        "evidence_sha256": "b" * 64,
        "method": "signed_form",
        "said_at": LONG_AGO + timedelta(microseconds=next(_serial)),
        "said_by": "desk",
    }
    return given(**{**fields, **changed})  # type: ignore[arg-type]


@dataclass(slots=True)
class World:
    """A catalogue, and beside it in plain Python what each consent allows now: the judge of the gate.

    `used`: footage that a published job used although its consent did not allow the purpose at that moment.
    """

    engine: Engine = field(default_factory=lambda: open_catalogue("sqlite://", "consents"))
    allowed: dict[str, set[str]] = field(default_factory=dict)  # consent → purposes; empty: withdrawn, or run out
    last: dict[str, ConsentEvent] = field(default_factory=dict)
    wrongly_used: list[tuple[str, str]] = field(default_factory=list)
    published: int = 0

    def say(self, consent_id: str, purposes: tuple[str, ...], *, has_expired: bool = False) -> None:
        """Give a consent (anew) for these purposes; for none of them: take it back."""
        if not purposes and consent_id not in self.last:
            return
        ends = LONG_AGO + timedelta(days=1) if has_expired else None
        if purposes:
            event = a_consent(consent_id, purposes, expires_at=ends)
            self.last[consent_id] = event
        else:
            moment = LONG_AGO + timedelta(microseconds=next(_serial))
            event = withdrawn(self.last[consent_id], said_at=moment, reason="person_asked", said_by="desk")
        with writing(self.engine, "say") as session:
            insert_events(session, [event])
        self.allowed[consent_id] = set() if has_expired else set(purposes)

    def job(
        self,
        footage: Mapping[str, tuple[str, ...]],
        purpose: Purpose,
        *,
        meanwhile: Callable[[], None],
        late: Callable[[], None],
        is_enforced: bool,
        is_proved_outside: bool = False,
    ) -> bool:
        """Read the basis, work, publish what is not withheld; whether it was published.

        `meanwhile` happens while it works, `late` between its last look outside and the transaction that publishes.
        `is_proved_outside` is the mutant: the gate is evaluated before the transaction, not in it.
        """
        material = Material(consents=footage, batches={})
        with writing(self.engine, "begin") as session:
            basis = read_basis(session, (purpose,), material, is_enforced=is_enforced)
        chosen = sorted(footage.keys() - basis.withheld.of(purpose).keys())
        meanwhile()
        try:
            if is_proved_outside:
                self._prove(basis)
                late()
                with writing(self.engine, "publish"):
                    self._publish(chosen, footage, purpose, is_enforced=is_enforced)
            else:
                late()
                with writing(self.engine, "publish") as session:
                    prove(session, basis)
                    self._publish(chosen, footage, purpose, is_enforced=is_enforced)
        except ConsentChanged:
            return False
        return True

    def _prove(self, basis: Basis) -> None:
        with writing(self.engine, "look") as session:
            prove(session, basis)

    def _publish(
        self, chosen: list[str], footage: Mapping[str, tuple[str, ...]], purpose: Purpose, *, is_enforced: bool
    ) -> None:
        self.published += 1
        for name in chosen:
            consents = footage[name]
            is_refused = any(purpose not in self.allowed[one] for one in consents if one in self.allowed)
            has_basis = bool(consents) and all(one in self.allowed for one in consents)
            if is_refused or (is_enforced and not has_basis):
                self.wrongly_used.append((name, purpose))

    def close(self) -> None:
        self.engine.dispose()
