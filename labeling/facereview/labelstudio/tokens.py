"""An access token without a browser: log in as a person would, then mint. Only for a server of our own."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from facestore.errors import ServerAway, ServerRefused
from facestore.ids import JsonValue

_TIMEOUT_S = 60.0


class Login:
    """A session of one user with a server on loopback or in our own network (plain HTTP).

    Every method raises ServerAway without an answer and ServerRefused for one that says no.
    """

    def __init__(self, url: str, page: str, email: str, password: str) -> None:
        """`page`: that of logging in, or that of signing up behind an invite link."""
        self.url = url.rstrip("/")
        self._cookies: dict[str, str] = {}
        self.call("GET", page)
        form = {"email": email, "password": password, "csrfmiddlewaretoken": self._cookies.get("csrftoken", "")}
        status, _ = self.call("POST", page, form=form)
        if status != 302 or "sessionid" not in self._cookies:
            raise ServerRefused(f"{self.url} does not let {email} in (HTTP {status}); look at address and password")

    def user_id(self) -> int:
        _, answer = self.call("GET", "/api/current-user/whoami")
        found = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(found, int):
            raise ServerRefused(f"{self.url} does not say who is logged in; log in again")
        return found

    def mint(self) -> str:
        """A new personal access token. A user has one only, so what was minted before is void from now on."""
        status, answer = self.call("POST", "/api/token/", body={})
        if status == 409:
            _, known = self.call("GET", "/api/token/")
            for old in known if isinstance(known, list) else []:
                self.call("POST", "/api/token/blacklist/", body={"refresh": _text(old, "token")})
            status, answer = self.call("POST", "/api/token/", body={})
        token = _text(answer, "token")
        if status != 201 or not token:
            raise ServerRefused(f"{self.url} mints no token (HTTP {status}); look at its log")
        return token

    def legacy_token(self) -> str:
        """The user's legacy token; the server takes it only after `allow_legacy_tokens`."""
        _, answer = self.call("GET", "/api/current-user/token")
        return _text(answer, "token")

    def allow_legacy_tokens(self, *, allowed: bool) -> None:
        body: dict[str, JsonValue] = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": allowed}
        status, _ = self.call("POST", "/api/jwt/settings", body=body)
        if status not in (200, 201):
            raise ServerRefused(f"{self.url} does not change its settings of tokens (HTTP {status})")

    def invite(self) -> str:
        """The path of the page where somebody with the link signs up."""
        _, answer = self.call("GET", "/api/invite")
        return _text(answer, "invite_url")

    def call(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        body: Mapping[str, JsonValue] | None = None,
    ) -> tuple[int, JsonValue]:
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "X-CSRFToken": self._cookies.get("csrftoken", ""),
            "Origin": self.url,
            "Referer": f"{self.url}/",
            "Content-Type": "application/json" if form is None else "application/x-www-form-urlencoded",
        }
        text = urlencode(form) if form is not None else None if body is None else json.dumps(body)
        answer, content = _ask(self.url, method, path, text, headers)
        self._keep_cookies(answer)
        return answer.status, content

    def _keep_cookies(self, answer: HTTPResponse) -> None:
        for header in answer.headers.get_all("Set-Cookie") or []:
            for name, cookie in SimpleCookie(header).items():
                self._cookies[name] = cookie.value


def log_in(url: str, email: str, password: str) -> Login:
    return Login(url, "/user/login/", email, password)


def sign_up(url: str, invite: str, email: str, password: str) -> Login:
    """A new annotator behind the link that `Login.invite` gave. The address must be one by the mail rules (a@b.c is
    none), the password of 8 characters or more."""
    return Login(url, invite, email, password)


def renews(url: str, token: str) -> bool:
    """Whether the server still gives access for this personal access token."""
    body = json.dumps({"refresh": token})
    answer, _ = _ask(url.rstrip("/"), "POST", "/api/token/refresh/", body, {"Content-Type": "application/json"})
    return answer.status == 200


def _ask(
    origin: str, method: str, path: str, text: str | None, headers: Mapping[str, str]
) -> tuple[HTTPResponse, JsonValue]:
    parts = urlsplit(origin)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body=text, headers=dict(headers))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException) as error:
        raise ServerAway(f"{origin} does not answer ({error}); start it, then try again") from error
    finally:
        connection.close()
    if answer.status >= 500:
        raise ServerAway(f"{origin} failed at {path} (HTTP {answer.status}); try again, then see its log")
    is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
    return answer, json.loads(content) if is_json and content else None


def _text(answer: JsonValue, key: str) -> str:
    found = answer.get(key) if isinstance(answer, dict) else None
    return found if isinstance(found, str) else ""
