"""Label Studio behind `ReviewServer`, through its SDK's own client: tokens of both kinds, time-outs, errors as ours.

What its server really does, measured: docs/label-studio.md.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from facereview.labelstudio.records import (
    bucket_body,
    instance_of,
    items_of,
    number_of,
    object_of,
    prediction_body,
    prediction_of,
    project_body,
    project_of,
    query_of,
    task_body,
    task_of,
    text_of,
    webhook_body,
)
from facereview.server import PredictionDraft, ServerProject, ServerTask, TaskDraft
from facestore.errors import ServerAway, ServerError, ServerGone, ServerRefused
from facestore.ids import JsonValue

_BLOCK = 250  # tasks for each call that writes
_PAGE = 1_000  # tasks for each call that reads
_BARE_FIELDS = "id,project,data,updated_at"
# Only what is read: all fields take three times as long. The list holds for annotations too.
_TASK_FIELDS = f"{_BARE_FIELDS},annotations,draft_exists,completed_by,was_cancelled,lead_time,created_at,result"
_PROJECT_FIELDS = "id,title,description,label_config,created_at"


class LabelStudioServer:
    """Implements `facereview.server.ReviewServer`. Reads are tried again after a failure, writes never: after
    ServerAway from a write, ask the server what it has.

    The instance is a hash of when the server's organisation was made: another database at the same address is another
    instance, the same database at another address is the same. A database restored from its own backup is the same
    too; what was answered since then comes back as deleted or changed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`token`: a personal access token or a legacy one. Asks the server who it is, so it raises as calls do."""
        self._url, self._retries, self._sleep = url.rstrip("/"), retries, sleep
        if not token.strip():
            raise self._refused(401, "it is empty")
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0))
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)
        try:
            client = LabelStudio(  # type: ignore[no-untyped-call]
                base_url=self._url, api_key=token.strip(), max_retries=0, httpx_client=self._http
            )
            self._wire = client._client_wrapper.httpx_client
            self.instance = instance_of(items_of(self._get("api/organizations/")))
        except ApiError as error:  # the SDK reads an expiry in the token itself
            self.close()
            raise self._refused(401, _detail(error.body)) from error
        except ServerError:
            self.close()
            raise

    def close(self) -> None:
        self._http.close()

    def check(self) -> str:
        self._get("api/current-user/whoami")
        return text_of(object_of(self._get("api/version")), "release")

    def projects(self) -> list[ServerProject]:
        found: list[ServerProject] = []
        while True:
            page = object_of(
                self._get(
                    "api/projects/", page=len(found) // 100 + 1, page_size=100, ordering="id", include=_PROJECT_FIELDS
                )
            )
            some = [project_of(object_of(item)) for item in items_of(page["results"])]
            found += some
            if len(found) >= number_of(page, "count") or not some:
                return found

    def create_project(
        self, *, title: str, description: str, label_config: str, overlap: int, model_version: str
    ) -> ServerProject:
        """Skipped tasks come back to others, drafts and hotkeys stay as they are; nobody sees another's answer."""
        body = project_body(title, description, label_config, overlap=overlap, model_version=model_version)
        return project_of(object_of(self._write("POST", "api/projects/", body)))

    def delete_project(self, project_id: int) -> None:
        self._write("DELETE", f"api/projects/{project_id}/")

    def set_model_version(self, project_id: int, model_version: str) -> None:
        self._write("PATCH", f"api/projects/{project_id}/", {"model_version": model_version})

    def create_tasks(self, project_id: int, tasks: Sequence[TaskDraft]) -> dict[str, int]:
        made: dict[str, int] = {}
        for start in range(0, len(tasks), _BLOCK):
            block = tasks[start : start + _BLOCK]
            answer = self._call(
                "POST",
                f"api/projects/{project_id}/import",
                params={"return_task_ids": "true", "commit_to_project": "true"},
                body=[task_body(task) for task in block],
            )
            numbers = [item for item in items_of(object_of(answer).get("task_ids")) if isinstance(item, int)]
            # Looked up, not taken from the order of the ids: nothing promises that order.
            made |= {
                task.question_id: task.task_id
                for task in self._pages(project_id, _BARE_FIELDS, after=min(numbers, default=1) - 1)
                if task.question_id is not None and task.task_id in set(numbers)
            }
            lost = [task.question_id for task in block if task.question_id not in made]
            if lost:
                raise ServerError(f"{self._url} made no task for {len(lost)} questions, {lost[0]} first; push again")
        return made

    def replace_predictions(self, project_id: int, drafts: Mapping[int, PredictionDraft]) -> None:
        known = {task.task_id for task in self._pages(project_id, _BARE_FIELDS)}
        if missing := sorted(drafts.keys() - known):
            raise ServerGone(f"project {project_id} has no task {missing[0]} ({len(missing)} are missing); pull first")
        ordered = sorted(drafts)
        for start in range(0, len(ordered), _BLOCK):
            block: list[JsonValue] = [*ordered[start : start + _BLOCK]]
            chosen: JsonValue = {"all": False, "included": block}
            self._call(
                "POST",
                "api/dm/actions",
                params={"id": "delete_tasks_predictions", "project": project_id},
                body={"selectedItems": chosen, "project": project_id},
            )
            new: list[JsonValue] = [
                {"task": task_id, **prediction_body(drafts[task_id])} for task_id in ordered[start : start + _BLOCK]
            ]
            self._write("POST", f"api/projects/{project_id}/import/predictions", new)

    def predictions(self, task_id: int) -> list[PredictionDraft]:
        """What is filled in for a task, oldest first."""
        found = [object_of(item) for item in items_of(self._get("api/predictions/", task=task_id))]
        return [prediction_of(item) for item in sorted(found, key=lambda item: number_of(item, "id"))]

    def update_task_data(self, task_id: int, data: Mapping[str, JsonValue]) -> None:
        self._write("PATCH", f"api/tasks/{task_id}/", {"data": dict(data)})

    def delete_task(self, task_id: int) -> None:
        self._write("DELETE", f"api/tasks/{task_id}/")

    def tasks(self, project_id: int, *, updated_after: datetime | None = None) -> Iterator[ServerTask]:
        """By task id. A page goes on after the last id of the one before, so that a deletion meanwhile hides none."""
        return self._pages(project_id, _TASK_FIELDS, updated_after=updated_after)

    def task(self, task_id: int) -> ServerTask:
        return task_of(object_of(self._get(f"api/tasks/{task_id}/", resolve_uri="false")))

    def connect_folder(self, project_id: int, path: str) -> None:
        """Let the server hand out pictures of this folder (absolute; below its document root, not the root itself) to
        whoever has logged in. Nothing is imported from it."""
        kind = "api/storages/localfiles"
        for known in items_of(self._get(f"{kind}/", project=project_id)):
            if object_of(known).get("path") == path.rstrip("/"):
                return
        self._write("POST", f"{kind}/", {"project": project_id, "path": path, "use_blob_urls": True, "title": "shown"})

    def connect_bucket(
        self,
        project_id: int,
        *,
        bucket: str,
        prefix: str,
        endpoint: str | None,
        region: str | None,
        access_key: str,
        secret_key: str,
        link_minutes: int,
    ) -> None:
        """Let the server sign links of so many minutes to objects of a bucket: data says s3://BUCKET/KEY. The server
        itself must reach the endpoint, and so must the browser. Nothing is imported from it."""
        kind = "api/storages/s3"
        body = bucket_body(bucket, prefix, endpoint, region, access_key, secret_key, link_minutes)
        body["project"] = project_id
        for known in items_of(self._get(f"{kind}/", project=project_id)):
            storage = object_of(known)
            if storage.get("bucket") == bucket and storage.get("prefix") == prefix:
                self._write("PATCH", f"{kind}/{number_of(storage, 'id')}", body)
                return
        self._write("POST", f"{kind}/", body)

    def add_webhook(self, project_id: int, url: str, secret: str) -> None:
        """Send hints about a project's answers to the address, with `Authorization: Bearer SECRET`. Again with another
        secret it changes the one that is there. (For all projects at once the server takes none.)"""
        body: dict[str, JsonValue] = webhook_body(url, secret) | {"project": project_id}
        for known in items_of(self._get("api/webhooks/", project=project_id)):
            hook = object_of(known)
            if hook.get("url") == url and hook.get("project") == project_id:
                self._write("PATCH", f"api/webhooks/{number_of(hook, 'id')}/", body)
                return
        self._write("POST", "api/webhooks/", body)

    def _pages(
        self, project_id: int, fields: str, *, after: int = 0, updated_after: datetime | None = None
    ) -> Iterator[ServerTask]:
        last = after
        while True:
            page = self._get(
                "api/tasks",
                project=project_id,
                fields="all" if fields == _TASK_FIELDS else "task_only",
                include=fields,
                page_size=_PAGE,
                resolve_uri="false",
                query=query_of(last, updated_after),
            )
            some = [task_of(object_of(item)) for item in items_of(object_of(page)["tasks"])]
            yield from some
            if len(some) < _PAGE:
                return
            last = some[-1].task_id

    def _get(self, path: str, **params: str | int | None) -> JsonValue:
        for attempt in range(self._retries):
            try:
                return self._call("GET", path, params=params)
            except ServerAway:
                self._sleep(0.5 * 2**attempt)
        return self._call("GET", path, params=params)

    def _write(self, method: str, path: str, body: JsonValue = None) -> JsonValue:
        return self._call(method, path, body=body)

    def _call(
        self, method: str, path: str, *, params: Mapping[str, str | int | None] | None = None, body: JsonValue = None
    ) -> JsonValue:
        try:
            answer = self._wire.request(path, method=method, params=dict(params or {}), json=body)
        except ApiError as error:  # the exchange of a personal access token failed
            raise self._failure(error.status_code or 401, _detail(error.body), "api/token/refresh/") from error
        except httpx.HTTPError as error:
            what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "does not answer"
            raise ServerAway(
                f"{self._url} {what} ({type(error).__name__}); see that it runs, then try again"
            ) from error
        except ValueError as error:  # an answer to that exchange that is no JSON
            raise ServerAway(f"{self._url} failed while exchanging the token; try again, then see its log") from error
        if answer.status_code == 204:
            return None
        try:
            content: JsonValue = answer.json()
        except ValueError:
            content = None
        if not answer.is_success:
            raise self._failure(answer.status_code, _detail(content), path)
        if content is None:
            raise ServerRefused(f"{self._url}/{path} answers, but not as Label Studio does; look at the address")
        return content

    def _failure(self, status: int, detail: str, path: str) -> ServerError:
        if status >= 500 or status in (408, 429):
            return ServerAway(f"{self._url} failed at {path} (HTTP {status}); try again, then see its log")
        if status == 404:
            return ServerGone(f"{self._url} has no {path}: {detail or 'not found'}; pull, then push again")
        return self._refused(status, detail)

    def _refused(self, status: int, detail: str) -> ServerRefused:
        if status == 401:
            return ServerRefused(
                f"{self._url} does not take the token ({detail or 'no reason given'}): it is expired, revoked or of "
                "the legacy kind where that is off; make a personal access token under Account & Settings and give that"
            )
        return ServerRefused(
            f"{self._url} refused (HTTP {status}): {detail or 'no reason given'}; put that right first"
        )


def _detail(body: object) -> str:
    # Label Studio says why in `detail` or `validation_errors`; nothing of ours is in there but what we sent.
    if not isinstance(body, dict):
        return ""
    said = body.get("validation_errors") or body.get("detail") or ""
    return str(said)[:300]
