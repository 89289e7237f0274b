"""What a run may use, read from the consents as it begins and proved again in the transaction that publishes it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from facestore.catalogue import database_now, open_catalogue, reading
from facestore.consenting import Purpose
from facestore.consents import Standing, may, refusal, standings
from facestore.errors import ConsentChanged
from facestore.ids import JsonValue, digest_of

Reader = Session  # what a transaction of the catalogue reads with


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What may not be used: purpose → footage id → reason code."""

    reasons: Mapping[Purpose, Mapping[str, str]] = field(default_factory=dict)

    def of(self, purpose: Purpose) -> Mapping[str, str]:
        """Footage that is withheld from one purpose, with the reason."""
        return self.reasons.get(purpose, {})

    @property
    def is_empty(self) -> bool:
        return not any(self.reasons.values())

    def digest(self, footage_ids: Iterable[str] | None = None) -> str | None:
        """Names what is withheld, of all footage or of some; None where nothing is: a run's key stays as it was."""
        wanted = None if footage_ids is None else set(footage_ids)
        found: dict[str, JsonValue] = {
            str(purpose): {name: reason for name, reason in sorted(some.items()) if wanted is None or name in wanted}
            for purpose, some in sorted(self.reasons.items())
        }
        return digest_of(found) if any(found.values()) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a stage is about to read: footage with the consents that it names, and the batches that it lies in."""

    consents: Mapping[str, tuple[str, ...]]
    batches: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What was read of the consents when a run began. `epochs`: of the consents that its footage names."""

    material: Material
    purposes: tuple[Purpose, ...]
    is_enforced: bool
    withheld: Withheld
    epochs: Mapping[str, int]


NO_MATERIAL = Material(consents={}, batches={})


def read_basis(session: Session, purposes: tuple[Purpose, ...], material: Material, *, is_enforced: bool) -> Basis:
    """How the consents stand, in the caller's transaction, by the database's clock.

    What is recorded of a consent always holds. `is_enforced`: footage of which nothing is recorded is withheld too.
    """
    named = sorted({consent for some in material.consents.values() for consent in some})
    known: dict[str, Standing] = standings(session, named) if named else {}
    at = database_now(session)
    reasons: dict[Purpose, dict[str, str]] = {}
    for purpose in purposes:
        allowed = may(session, known, purpose, at)
        held: dict[str, str] = {}
        for footage_id, consents in material.consents.items():
            refused = [refusal(known[consent], at) for consent in consents if consent in known.keys() - allowed]
            if refused:
                held[footage_id] = min(refused)
            elif is_enforced and not (consents and known.keys() >= set(consents)):
                held[footage_id] = "without_basis"
        reasons[purpose] = held
    return Basis(
        material=material,
        purposes=purposes,
        is_enforced=is_enforced,
        withheld=Withheld(reasons=reasons),
        epochs={name: found.epoch for name, found in known.items()},
    )


def basis_now(url: str, purposes: tuple[Purpose, ...], material: Material, *, is_enforced: bool) -> Basis:
    """The same for who only wants to look, and publishes nothing. Raises StoreError."""
    engine = open_catalogue(url, "consents")
    try:
        with reading(engine, "read the consents") as session:
            return read_basis(session, purposes, material, is_enforced=is_enforced)
    finally:
        engine.dispose()


def prove(session: Session, basis: Basis) -> None:
    """Nothing that a run rests on has changed since. Call it in the transaction that publishes, and nowhere else.

    There nobody can withdraw between this look and the publication. Raises ConsentChanged.
    """
    now = read_basis(session, basis.purposes, basis.material, is_enforced=basis.is_enforced)
    if now.epochs != basis.epochs or now.withheld != basis.withheld:
        raise ConsentChanged(
            "consents changed while this run worked; nothing of it was published: run it again, without what is "
            "withheld now"
        )
