"""The labelling server's settings for faces: nothing leaves the machine, nobody signs up, only named hosts answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from facestore.errors import ConfigError

# Label Studio's own list of networks that it never calls, without loopback.
_NEVER_CALLED = (
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.88.99.0/24,"
    "192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,233.252.0.0/24,240.0.0.0/4,"
    "255.255.255.255/32,::/128,::ffff:0:0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001::/32,"
    "2001:20::/28,2001:db8::/32,2002::/16,fc00::/7,fe80::/10,ff00::/8"
)
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """Where a server of ours lives and listens."""

    folder: Path  # its database, log and credentials
    port: int
    database_url: str | None = None  # postgresql://user:password@host:port/name; without it SQLite in the folder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def files(self) -> Path:
        """All that the server hands out from disk: pictures of open questions."""
        return self.folder / "pictures"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"


def server_environment(
    place: ServerPlace, outer: Mapping[str, str], *, email: str, password: str, is_legacy_token: bool = False
) -> dict[str, str]:
    """Every variable that the server gets. It reads unprefixed names too (HOST, USERNAME, DEBUG, CI), so of ours only a
    few pass.

    Raises ConfigError for a database URL that is none of PostgreSQL.
    """
    settings = {
        "BASE_DATA_DIR": str(place.folder),
        "USERNAME": email,
        "PASSWORD": password,  # by the environment: a command line can be read by everybody
        "ENABLE_LEGACY_API_TOKEN": _word(is_legacy_token),
        "HOST": place.url,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",  # a page elsewhere cannot reach it under a name of its own
        "CORS_ALLOW_ALL_ORIGINS": "false",
        "CORS_ALLOWED_ORIGINS": place.url,
        "CSRF_TRUSTED_ORIGINS": place.url,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "SVG_SECURITY_CLEANUP": "true",
        "SSRF_PROTECTION_ENABLED": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",  # they hold loopback, where our webhook and suggestions live
        "USER_ADDITIONAL_BANNED_SUBNETS": _NEVER_CALLED,
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(place.files),
        "TASK_LOCK_TTL": "1800",  # s that a task which somebody opened is kept from others; by default a day
        "LOG_LEVEL": "WARNING",
        **_database(place.database_url),
    }
    passed = {name: outer[name] for name in _PASSED_ON if name in outer}
    return {
        **passed,
        "HOME": str(place.folder),
        "PYTHONUNBUFFERED": "1",
        **{f"LABEL_STUDIO_{name}": value for name, value in settings.items()},
    }


def _database(url: str | None) -> dict[str, str]:
    if url is None:
        return {"DJANGO_DB": "sqlite"}
    parts = urlsplit(url)
    if parts.scheme.split("+")[0] not in ("postgresql", "postgres") or not parts.hostname or not parts.path.strip("/"):
        raise ConfigError("the labelling server's database: give postgresql://USER:PASSWORD@HOST:PORT/NAME, or nothing")
    return {
        "DJANGO_DB": "default",
        "POSTGRE_USER": unquote(parts.username or ""),
        "POSTGRE_PASSWORD": unquote(parts.password or ""),
        "POSTGRE_HOST": parts.hostname,
        "POSTGRE_PORT": str(parts.port or 5432),
        "POSTGRE_NAME": parts.path.strip("/"),
    }


def _word(flag: bool) -> str:
    return "true" if flag else "false"
