"""Whether a root's pepper is the one that its references were made with.

References under another pepper match nothing: who was erased could come in again, and who withdrew would be nobody.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Tables, open_catalogue, reading, writing
from facestore.errors import ConfigError
from facestore.refs import PEPPER, PEPPER_FILE, read_pepper, subject_ref

_WORD = "faceloop: is this the pepper that references were made with?"  # no key of a person or a file
_WHY = "under another one nobody who was erased or who withdrew is known again"


class _PepperRow(Tables):
    __tablename__ = "pepper_check"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)


def pepper_check(pepper: bytes) -> str:
    """What tells two peppers apart and neither of them: a reference to a fixed word, 64 hex digits."""
    return subject_ref(pepper, _WORD)


def known_pepper(url: str, root: Path, environ: Mapping[str, str] | None = None) -> bytes:
    """The pepper of a root, which is the one that the catalogue at `url` was first used with.

    Raises ConfigError for another one, or none where there was one; StoreError when the catalogue cannot be used.
    """
    told = os.environ if environ is None else environ
    engine = open_catalogue(url, "check of the pepper")
    try:
        with reading(engine, "check the pepper") as session:
            known = _known(session)
        if known is not None and not told.get(PEPPER) and not (root / PEPPER_FILE).is_file():
            raise ConfigError(f"{PEPPER_FILE} of the root is gone; put it back, or set {PEPPER}: {_WHY}")
        pepper = read_pepper(root, told)
        if known is None:
            with writing(engine, "note the pepper's check") as session:  # of several that come at once the first one's
                known = _known(session)
                if known is None:
                    known = pepper_check(pepper)
                    session.add(_PepperRow(ref=known))
    finally:
        engine.dispose()
    if known != pepper_check(pepper):
        raise ConfigError(
            f"the pepper is another one than references here were made with; put the right one back: {_WHY}"
        )
    return pepper


def _known(session: Session) -> str | None:
    return session.scalars(select(_PepperRow.ref)).first()
