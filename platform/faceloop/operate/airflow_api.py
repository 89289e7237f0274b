"""Airflow's REST API, the little of it that we use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from facestore.errors import ServerAway, ServerError, ServerRefused
from facestore.ids import JsonValue

PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How many tasks of a kind run at once."""

    name: str
    slots: int
    description: str
    has_deferred: bool = False  # whether a task that waits for its job keeps its slots


class Airflow:
    """An api-server and a user of it. Methods raise ServerAway, ServerRefused, or ServerError for another answer."""

    def __init__(self, url: str, user: str, password: str, *, timeout_s: float = 30.0) -> None:
        self._wire = httpx.Client(base_url=url, timeout=timeout_s)
        self._user, self._password, self._token = user, password, ""

    def unhealthy(self) -> list[str]:
        """The parts of which Airflow has no sign of life; all, while it does not answer. Needs no password."""
        try:
            answer = self._wire.get("/api/v2/monitor/health", timeout=5.0)
            found = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError):
            found = {}
        return [part for part in PARTS if (found.get(part) or {}).get("status") != "healthy"]

    def dags(self) -> dict[str, bool]:
        """Every Dag that Airflow knows, and whether it is paused."""
        body = self.call("GET", "/api/v2/dags", params={"limit": "1000"})
        return {str(dag["dag_id"]): bool(dag["is_paused"]) for dag in _rows(body, "dags")}

    def import_errors(self) -> list[str]:
        """Dag files that cannot be loaded: their names."""
        body = self.call("GET", "/api/v2/importErrors")
        return sorted({str(row["filename"]).rpartition("/")[2] for row in _rows(body, "import_errors")})

    def ensure_pool(self, pool: Pool) -> None:
        """Make it, unless there is one of that name: what an operator changed stays."""
        names = {row["name"] for row in _rows(self.call("GET", "/api/v2/pools"), "pools")}
        if pool.name not in names:
            body: JsonValue = {
                "name": pool.name,
                "slots": pool.slots,
                "description": pool.description,
                "include_deferred": pool.has_deferred,
            }
            self.call("POST", "/api/v2/pools", body=body)

    def post_asset_event(self, name: str, extra: JsonValue) -> None:
        """Say that an asset changed. Raises ServerError while no Dag names such an asset."""
        found = _rows(self.call("GET", "/api/v2/assets", params={"name_pattern": name, "limit": "100"}), "assets")
        ids = [row["id"] for row in found if row["name"] == name]
        if not ids:
            raise ServerError(f"Airflow knows no asset {name!r}; is its Dag loaded?")
        self.call("POST", "/api/v2/assets/events", body={"asset_id": ids[0], "extra": extra})

    def call(
        self, method: str, path: str, *, body: JsonValue = None, params: Mapping[str, str] | None = None
    ) -> Mapping[str, JsonValue]:
        """The answer to one request, with a token that is fetched when there is none or the last one ran out."""
        for is_last in (False, True):
            if not self._token:
                self._log_in()
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = self._send(method, path, body=body, params=params, headers=headers)
            if answer.status_code == 401 and not is_last:
                self._token = ""
                continue
            return _read(answer, f"{method} {path}")
        raise ServerRefused(f"{method} {path}: Airflow takes the password and refuses its own token")

    def close(self) -> None:
        self._wire.close()

    def _log_in(self) -> None:
        body: JsonValue = {"username": self._user, "password": self._password}
        found = _read(self._send("POST", "/auth/token", body=body), "log in to Airflow")
        self._token = str(found["access_token"])

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: JsonValue,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            return self._wire.request(method, path, json=body, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise ServerAway(f"Airflow does not answer ({type(error).__name__}); is it up?") from error


def _read(answer: httpx.Response, what: str) -> Mapping[str, JsonValue]:
    if answer.status_code in (401, 403):
        raise ServerRefused(f"{what}: Airflow refuses this user ({answer.status_code}); check name, password and role")
    if answer.status_code >= 500:
        raise ServerAway(f"{what}: Airflow failed ({answer.status_code}); try again")
    if answer.status_code >= 400:
        raise ServerError(f"{what}: Airflow answers {answer.status_code}: {answer.text[:300]}")
    try:
        found: Mapping[str, JsonValue] = answer.json() if answer.content else {}
    except ValueError as error:
        raise ServerError(f"{what}: Airflow answers something that is no JSON") from error
    return found


def _rows(body: Mapping[str, JsonValue], name: str) -> Sequence[Mapping[str, JsonValue]]:
    rows = body.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
