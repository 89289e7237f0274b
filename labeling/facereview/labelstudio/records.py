"""Label Studio's JSON to and from our records, each read once, at the edge."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from facereview.server import PredictionDraft, ServerAnnotation, ServerProject, ServerTask, TaskDraft
from facestore.errors import ServerRefused
from facestore.ids import JsonValue, digest_of

Object = Mapping[str, JsonValue]
QUESTION = "question_id"  # in a task's data


def instance_of(organizations: Sequence[JsonValue]) -> str:
    """`ls-` and 12 hex digits, of the oldest organisation's id and the microsecond it was made."""
    known = sorted((number_of(object_of(item), "id"), text_of(object_of(item), "created_at")) for item in organizations)
    if not known:
        raise ServerRefused("the token's user belongs to no organisation; let an administrator add them")
    return f"ls-{digest_of([*known[0]])[:12]}"


def task_body(task: TaskDraft) -> JsonValue:
    """For an import, with the prediction in it."""
    made: list[JsonValue] = [] if task.prediction is None else [prediction_body(task.prediction)]
    return {"data": {**task.data, QUESTION: task.question_id}, "predictions": made}


def prediction_body(draft: PredictionDraft) -> dict[str, JsonValue]:
    return {"model_version": draft.model_version, "score": draft.score, "result": [*draft.result]}


def prediction_of(found: Object) -> PredictionDraft:
    score = found.get("score")
    return PredictionDraft(
        model_version=text_of(found, "model_version"),
        score=float(score) if isinstance(score, int | float) else 0.0,
        result=tuple(items_of(found.get("result"))),
    )


def project_body(
    title: str, description: str, label_config: str, *, overlap: int, model_version: str
) -> dict[str, JsonValue]:
    return {
        "title": title,
        "description": description,
        "label_config": label_config,
        "maximum_annotations": overlap,
        "overlap_cohort_percentage": 100,
        "model_version": model_version,
        "show_collab_predictions": True,
        "evaluate_predictions_automatically": False,
        "enable_empty_annotation": True,
        "show_skip_button": True,
        "skip_queue": "REQUEUE_FOR_OTHERS",
        "show_instruction": False,
        "sampling": "Sequential sampling",  # in the order in which tasks were made: most worth first
    }


def bucket_body(
    bucket: str,
    prefix: str,
    endpoint: str | None,
    region: str | None,
    access_key: str,
    secret_key: str,
    link_minutes: int,
) -> dict[str, JsonValue]:
    return {
        "bucket": bucket,
        "prefix": prefix,
        "s3_endpoint": endpoint,
        "region_name": region,
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret_key,
        "presign": True,
        "presign_ttl": link_minutes,
        "use_blob_urls": True,
        "title": "shown",
    }


def webhook_body(url: str, secret: str) -> dict[str, JsonValue]:
    return {
        "url": url,
        "headers": {"Authorization": f"Bearer {secret}"},
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED"],
        "is_active": True,
    }


def query_of(after: int, updated_after: datetime | None) -> str:
    """The data manager's query for tasks with a larger id, changed later, by id."""
    items: list[JsonValue] = [_filter("id", "Number", after)]
    if updated_after is not None:
        moment = updated_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        items.append(_filter("updated_at", "Datetime", moment))
    return json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]})


def _filter(column: str, kind: str, value: JsonValue) -> JsonValue:
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "type": kind, "value": value}


def project_of(found: Object) -> ServerProject:
    return ServerProject(
        project_id=number_of(found, "id"),
        title=text_of(found, "title"),
        description=text_of(found, "description"),
        label_config=text_of(found, "label_config"),
        created_at=_moment(found, "created_at"),
    )


def task_of(found: Object) -> ServerTask:
    """A task of a list or of its own page; without `annotations` it has none."""
    data = object_of(found.get("data") or {})
    question_id = data.get(QUESTION)
    task_id = number_of(found, "id")
    return ServerTask(
        task_id=task_id,
        project_id=number_of(found, "project"),
        question_id=question_id if isinstance(question_id, str) else None,
        data=data,
        updated_at=_moment(found, "updated_at"),
        has_draft=bool(found.get("draft_exists")) or bool(found.get("drafts")),
        annotations=tuple(
            _annotation(object_of(item), task_id)
            for item in sorted(items_of(found.get("annotations")), key=lambda item: number_of(object_of(item), "id"))
        ),
    )


def _annotation(found: Object, task_id: int) -> ServerAnnotation:
    user = found.get("completed_by")  # an id in lists, an object on a task's own page
    user_id = user if isinstance(user, int) else number_of(object_of(user), "id") if user else None
    lead_time_s = found.get("lead_time")
    annotation_id = number_of(found, "id")
    return ServerAnnotation(
        annotation_id=annotation_id,
        # Label Studio keeps its own `unique_id` to itself outside exports; id and moment of making are as good.
        unique_id=f"{annotation_id}@{_moment(found, 'created_at').isoformat()}",
        task_id=task_id,
        user_id=user_id,
        updated_at=_moment(found, "updated_at"),
        is_skipped=bool(found.get("was_cancelled")),
        lead_time_s=float(lead_time_s) if isinstance(lead_time_s, int | float) else None,
        result=tuple(items_of(found.get("result"))),
    )


def object_of(value: JsonValue) -> Object:
    if not isinstance(value, dict):
        raise _strange(value)
    return value


def items_of(value: JsonValue) -> Sequence[JsonValue]:
    """The items of a list, or of a page that holds them as `results`; none of null."""
    if isinstance(value, dict) and "results" in value:
        value = value["results"]
    if value is None:
        return []
    if not isinstance(value, list):
        raise _strange(value)
    return value


def number_of(found: Object, key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int):
        raise _strange(value)
    return value


def text_of(found: Object, key: str) -> str:
    """Empty for null."""
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        raise _strange(value)
    return value or ""


def _moment(found: Object, key: str) -> datetime:
    try:
        return datetime.fromisoformat(text_of(found, key)).astimezone(UTC)
    except ValueError as error:
        raise _strange(found.get(key)) from error


def _strange(value: JsonValue) -> ServerRefused:
    found = type(value).__name__
    return ServerRefused(f"the server answers with {found} where Label Studio 1.23 does not; look at its version")
