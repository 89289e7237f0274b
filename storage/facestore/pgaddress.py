"""Where a catalogue on PostgreSQL is, and that it is that server which answers: libpq alone would not insist on either.

Without `sslmode` libpq asks for TLS, goes on in the clear where the server has none, and believes any certificate.
"""

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from sqlalchemy import URL, make_url

from facestore.errors import ConfigError

PLAIN_HOSTS = "FACELOOP_PLAIN_CATALOGUE"  # host names, separated by commas, of a network that nobody else is on
_VERIFIED = "verify-full"
_OWN_AUTHORITIES = Path.home() / ".postgresql" / "root.crt"  # where libpq looks


def verified(address: str, environ: Mapping[str, str]) -> str:
    """The URL with `sslmode=verify-full` where the server is on another machine; others as they are.

    Certificates are those of `sslrootcert`, PGSSLROOTCERT or ~/.postgresql/root.crt, else those this machine trusts.
    Raises ConfigError for a weaker mode to another machine that FACELOOP_PLAIN_CATALOGUE does not name.
    """
    url = make_url(address)
    if url.get_backend_name() != "postgresql":
        return address
    elsewhere = [host for host in _hosts(url, environ) if not _is_here(host)]
    if not elsewhere:
        return address
    plain = {name.strip() for name in environ.get(PLAIN_HOSTS, "").split(",")}
    mode = url.query.get("sslmode") or environ.get("PGSSLMODE")
    if mode is None and plain.issuperset(elsewhere):
        return address
    if mode not in (None, _VERIFIED):
        if plain.issuperset(elsewhere):
            return address
        raise ConfigError(
            f"paths.ledger: sslmode={mode} believes whoever answers as {elsewhere[0]}; write sslmode={_VERIFIED}, or, "
            f"for a network that nobody else is on, {PLAIN_HOSTS}={','.join(elsewhere)} into the environment"
        )
    said = {"sslmode": _VERIFIED, **_authorities(url, environ)}
    if said.items() <= url.query.items():
        return address
    return url.update_query_dict(said).render_as_string(hide_password=False)


def trusted_file() -> str | None:
    """The certificates this machine trusts. libpq's own word for them, `system`, is unknown to programs before 16, and
    a wheel's OpenSSL looks for them where it was built."""
    return ssl.get_default_verify_paths().cafile


def _authorities(url: URL, environ: Mapping[str, str]) -> dict[str, str]:
    named = url.query.get("sslrootcert") or environ.get("PGSSLROOTCERT")
    found = trusted_file()
    if found is None or named not in (None, "system") or (named is None and _OWN_AUTHORITIES.exists()):
        return {}
    return {"sslrootcert": found}


def _hosts(url: URL, environ: Mapping[str, str]) -> list[str]:
    """Names, addresses, or folders of sockets. One behind `host=` wins over that before the path, as in libpq."""
    named = url.query.get("host", ())
    asked = [named] if isinstance(named, str) else list(named)
    found = [one for several in asked for one in several.split(",")] or [url.host or environ.get("PGHOST", "")]
    addresses = url.query.get("hostaddr", ())
    found += [addresses] if isinstance(addresses, str) else list(addresses)
    return [one.partition(":")[0] if one.count(":") == 1 else one for one in found]


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
