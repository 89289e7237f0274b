"""Who may answer as the catalogue's server: on another machine only one with a certificate for its name."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import make_url, text
from tests.chaos.postgres_cluster import running_cluster
from tests.facestore.filling import fill

from facestore import pgprograms
from facestore.backups import back_up, restore, states_at
from facestore.catalogue import connected, open_catalogue, reading
from facestore.errors import ConfigError, StoreAway, StoreError
from facestore.pgaddress import PLAIN_HOSTS, verified

HERE = "postgresql+psycopg://app@{}/faces"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////data/c.sqlite3",
        HERE.format(""),
        HERE.format("localhost"),
        HERE.format("127.0.0.1:5433"),
        HERE.format("[::1]:5433"),
        HERE.format("") + "?host=/run/postgresql",
        HERE.format("db.example") + "?sslmode=verify-full&sslrootcert=/a.crt",
    ],
)
def test_what_is_here_or_says_enough_stays_as_it_is(url: str) -> None:
    assert verified(url, {}) == url


@pytest.mark.parametrize("host", ["db.example", "10.0.0.7:5432", "?host=db.example", "?host=/run,db.example:5433"])
@pytest.mark.parametrize("mode", [None, "disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_a_server_elsewhere_shows_its_certificate(host: str, mode: str | None) -> None:
    address, _, query = host.partition("?")
    words = [*query.split(), *([f"sslmode={mode}"] if mode else [])]
    url = f"{HERE.format(address)}?{'&'.join(words)}"
    name = "10.0.0.7" if address.startswith("10") else "db.example"
    if mode in (None, "verify-full"):
        assert make_url(verified(url, {})).query["sslmode"] == "verify-full"
    else:
        with pytest.raises(ConfigError, match=name):
            verified(url, {})
        with pytest.raises(ConfigError, match=name):
            verified(url, {PLAIN_HOSTS: "another"})
    if mode != "verify-full":
        assert verified(url, {PLAIN_HOSTS: f"another, {name}"}) == url


def test_the_environment_counts_as_it_does_for_libpq() -> None:
    url = HERE.format("db.example")
    with pytest.raises(ConfigError, match="sslmode=prefer"):
        verified(url, {"PGSSLMODE": "prefer"})
    assert "sslrootcert" not in verified(url, {"PGSSLROOTCERT": "/own.crt"})
    with pytest.raises(ConfigError, match=r"db\.example"):
        verified("postgresql+psycopg:///faces?sslmode=require", {"PGHOST": "db.example"})
    with pytest.raises(ConfigError, match="believes whoever answers"):
        connected(HERE.format("db.example") + "?sslmode=require", "catalogue")


def _certificates(folder: Path, name: str) -> Path:
    """An authority, and a server's certificate for `localhost`, and its key; the authority's file."""
    start = datetime.now(UTC) - timedelta(days=1)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    servers = ec.generate_private_key(ec.SECP256R1())
    server = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(subject)
        .public_key(servers.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.crt").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    key_file = folder / "server.key"
    key_file.write_bytes(servers.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    key_file.chmod(0o600)
    return folder / f"{name}.crt"


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path, Path]]:
    """A server's port, its authority's certificate, and that of another one."""
    ours, others = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("others")
    authority, other = _certificates(ours, "ours"), _certificates(others, "others")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder = Path(mkdtemp(prefix="faceloop-tls-"))  # pytest's own folders are not for the server's account
    folder.chmod(0o755)
    names = {name: Path(shutil.copy(ours / name, folder)) for name in ("server.crt", "server.key")}
    try:
        with suppress(LookupError, PermissionError):  # then the server runs as this user
            shutil.chown(names["server.key"], user="postgres")
        settings = [f"ssl_cert_file='{names['server.crt']}'", f"ssl_key_file='{names['server.key']}'"]
        with running_cluster("ssl=on", "listen_addresses='127.0.0.1'", f"port={port}", *settings):
            yield port, authority, other
    finally:
        shutil.rmtree(folder)


@pytest.mark.integration
def test_a_catalogue_and_its_backup_speak_tls(
    tls_server: tuple[int, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority, _ = tls_server
    address = f"postgresql+psycopg://app@localhost:{port}/"
    checked = f"?sslmode=verify-full&sslrootcert={authority}"
    engine = open_catalogue(f"{address}postgres{checked}", "catalogue")
    with reading(engine, "look") as session:
        assert session.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")) is True
    fill(engine, 3, seed=1)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE another"))
    engine.dispose()
    made = back_up(f"{address}postgres{checked}", tmp_path / "backup")
    assert made.kind == "pg_dump"
    restore(tmp_path / "backup", f"{address}another{checked}")
    assert states_at(f"{address}another{checked}") == made.tables


@pytest.mark.integration
@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_server_that_only_pretends_is_refused(wrong: str, tls_server: tuple[int, Path, Path], tmp_path: Path) -> None:
    port, authority, other = tls_server
    host, trusted = ("localhost", other) if wrong == "authority" else ("127.0.0.1", authority)
    url = f"postgresql+psycopg://app@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={trusted}"
    with pytest.raises(StoreError, match="certificate") as caught:
        open_catalogue(url, "catalogue")
    assert not isinstance(caught.value, StoreAway)
    with pytest.raises(StoreError, match="certificate"):
        pgprograms.dump(url, "00000003-0000001B-1", tmp_path / "dump")
