"""What consents withhold now, as one small file that DVC can see: `ROOT/consents.json`. Digests only, no ids."""

from faceloop.consent_gate import ConsentParams, material_of
from faceloop.params import section
from faceloop.runner import Workspace
from facestore.consentbasis import basis_now
from facestore.consenting import Purpose
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.publish import write_whole

GATE_FILE = "consents.json"
_PURPOSES: tuple[Purpose, ...] = ("recognition", "annotation", "training", "evaluation")


def gate_digests(work: Workspace) -> dict[str, JsonValue]:
    """Purpose → digest of the footage that is withheld from it and why; None where none is. Raises StoreError."""
    is_enforced = section(work.tree, "consent", ConsentParams).policy == "enforce"
    basis = basis_now(work.ledger_url(), _PURPOSES, material_of("embed", work.path), is_enforced=is_enforced)
    found: dict[str, JsonValue] = {}
    for purpose in _PURPOSES:
        held: dict[str, JsonValue] = dict(sorted(basis.withheld.of(purpose).items()))
        found[purpose] = digest_of(held) if held else None
    return found


def export_gate(work: Workspace) -> bool:
    """Write the file; False where it already says so. Raises StoreError when the disk fails."""
    path, text = work.root / GATE_FILE, canonical_json({"withheld": gate_digests(work)}) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.unlink(missing_ok=True)  # DVC may have linked it from its cache
    write_whole(path, text)
    return True


def renew_gate(work: Workspace) -> None:
    """The same where the file is there already: who does not use DVC never gets one."""
    if (work.root / GATE_FILE).is_file():
        export_gate(work)
