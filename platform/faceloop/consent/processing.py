"""The record of processing activities (GDPR Art. 30), generated from catalogue and params, never by hand."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from faceloop.consent_gate import PURPOSES_OF, ConsentParams
from faceloop.params import section
from faceloop.runner import Workspace
from facestore.consents import Standing
from facestore.ids import JsonValue
from facestore.keys import MARKER
from facestore.publish import read_manifest

_HELD = {  # artifact → the category of data that it holds
    "footage": "footage", "faces": "face positions", "crops": "face pictures", "embeddings": "face templates",
    "assignments": "identities", "questions": "questions to people", "release": "training data", "candidate": "a model",
    "exported": "a model for production",
}  # fmt: skip


def processing_record(work: Workspace, consents: Mapping[str, Standing], *, now: datetime) -> dict[str, JsonValue]:
    """Purposes, categories, recipients, retention and security measures, as they are configured and held now."""
    params = section(work.tree, "consent", ConsentParams)
    given = [found.last for found in consents.values() if found.last.kind == "given"]
    purposes = Counter(purpose for event in given for purpose in event.purposes)
    stages: dict[str, JsonValue] = {stage: [*purpose] for stage, purpose in PURPOSES_OF.items() if purpose}
    held: dict[str, JsonValue] = {
        artifact: category for artifact, category in _HELD.items() if read_manifest(work.path(artifact)) is not None
    }
    recipients: list[JsonValue] = (
        ["people who answer questions, at the labelling server"] if "questions" in held else []
    )
    recipients += ["whoever receives the release"] if "release" in held else []
    recipients += ["devices that load the exported model"] if "exported" in held else []
    return {
        "generated_at": now.isoformat(),
        "controllers": [*sorted({event.controller or "" for event in given})],
        "purposes": {purpose: purposes[purpose] for purpose in sorted(purposes)},
        "purpose_of_stages": stages,
        "consents": {"given": len(given), "withdrawn": len(consents) - len(given)},
        "jurisdictions": dict(sorted(Counter(event.jurisdiction or "" for event in given).items())),
        "categories_of_data": [*sorted({category for event in given for category in event.data_categories})],
        "held": held,
        "recipients": recipients,
        "retention_years": dict(params.retention_years),
        "footage_without_consent": params.without_basis if params.policy == "enforce" else "used",
        "acquisition": params.acquisition,
        "security": {
            "object_store": "S3" if work.external("objects").startswith("s3://") else "folder",
            "catalogue": "PostgreSQL" if work.ledger_url().startswith("postgresql") else "SQLite",
            "is_encrypted_by_face": (work.root / MARKER).is_file(),
        },
    }


def as_markdown(record: Mapping[str, JsonValue]) -> str:
    """The same for people: one heading an entry, one line a fact."""
    lines = ["# Record of processing activities", ""]
    for name, value in record.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
        match value:
            case dict():
                lines += [
                    f"- {key}: {', '.join(map(str, some)) if isinstance(some, list) else some}"
                    for key, some in value.items()
                ]
            case list():
                lines += [f"- {each}" for each in value]
            case _:
                lines.append(str(value))
        if value in ({}, []):
            lines.append("none")
        lines.append("")
    return "\n".join(lines)
