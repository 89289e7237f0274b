"""Answers as an annotator's browser gives them, through the server's API. For simulations and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facereview.labelstudio.tokens import Login, sign_up
from facestore.errors import ServerRefused
from facestore.ids import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotator:
    """Somebody with an account. Methods raise ServerAway, and ServerRefused for an answer that says no."""

    user_id: int
    email: str
    password: str
    login: Login

    def annotate(self, task_id: int, result: Sequence[JsonValue], *, lead_time_s: float = 3.0) -> int:
        """Submit an answer; returns the annotation's id."""
        body: dict[str, JsonValue] = {"result": [*result], "lead_time": lead_time_s}
        return self._made("POST", f"/api/tasks/{task_id}/annotations/", body)

    def skip(self, task_id: int, *, lead_time_s: float = 1.0) -> int:
        body: dict[str, JsonValue] = {"result": [], "lead_time": lead_time_s, "was_cancelled": True}
        return self._made("POST", f"/api/tasks/{task_id}/annotations/", body)

    def edit(self, annotation_id: int, result: Sequence[JsonValue], *, lead_time_s: float = 3.0) -> None:
        body: dict[str, JsonValue] = {"result": [*result], "lead_time": lead_time_s, "was_cancelled": False}
        self._made("PATCH", f"/api/annotations/{annotation_id}/", body)

    def delete(self, annotation_id: int) -> None:
        status, _ = self.login.call("DELETE", f"/api/annotations/{annotation_id}/")
        if status != 204:
            raise ServerRefused(f"annotation {annotation_id} was not deleted (HTTP {status})")

    def draft(self, task_id: int, result: Sequence[JsonValue]) -> int:
        """Begin an answer without submitting it; returns the draft's id."""
        return self._made("POST", f"/api/tasks/{task_id}/drafts", {"result": [*result], "lead_time": 1.0})

    def next_task(self, project_id: int) -> int | None:
        """What the label stream shows next; None when there is nothing left for this annotator."""
        status, answer = self.login.call("GET", f"/api/projects/{project_id}/next")
        if status == 404:
            return None
        found = answer.get("id") if isinstance(answer, dict) else None
        return found if isinstance(found, int) else None

    def _made(self, method: str, path: str, body: Mapping[str, JsonValue]) -> int:
        status, answer = self.login.call(method, path, body=body)
        found = answer.get("id") if isinstance(answer, dict) else None
        if status not in (200, 201) or not isinstance(found, int):
            raise ServerRefused(f"{method} {path} was refused (HTTP {status})")
        return found


def new_annotator(admin: Login, email: str, password: str) -> Annotator:
    """An account behind the administrator's invite link. Label Studio Community has no roles: it may do all."""
    return _annotator(sign_up(admin.url, admin.invite(), email, password), email, password)


def _annotator(login: Login, email: str, password: str) -> Annotator:
    return Annotator(user_id=login.user_id(), email=email, password=password, login=login)
