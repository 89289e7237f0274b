# ruff: noqa: INP001  # docker/ is no package: it would hide the one that is called so
"""Makes what a deployment needs beside the images: secrets, params, the inbox. What is there stays as it is.

`python3 docker/prepare.py` for compose, `python3 docker/prepare.py --kubernetes` for the manifests. Plain Python: it
runs on a machine that has nothing of ours installed.
"""

import argparse
import base64
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What a deployment says otherwise than the params.yaml of one laptop. The catalogue's password is in no file: as the
# URL has none, libpq takes it from PGPASSWORD or PGPASSFILE.
VALUES = {
    "root": "/data/root",
    "paths.source": "/data/inbox",
    "paths.objects": "s3://faceloop/objects",
    "paths.ledger": "postgresql+psycopg://faceloop@postgres:5432/faceloop",
    "ingest.link_media": "false",
}
IN_KUBERNETES = {  # the claim itself is the root, mounted at one place wherever a command runs
    "root": "/data",
    "paths.ledger": "postgresql+psycopg://faceloop@postgres.example:5432/faceloop?sslmode=verify-full&sslrootcert=system",
}


def drawn(placeholder: str) -> str:
    """A fresh random value: `hex N` is N bytes, `fernet` a key of 32. Raises ValueError for another word."""
    kind, _, size = placeholder.partition(" ")
    if kind == "hex":
        return secrets.token_hex(int(size))
    if kind == "fernet":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    raise ValueError(f"<{placeholder}> cannot be drawn; write <hex BYTES> or <fernet>")


def filled(example: str) -> str:
    """An example of settings with a value drawn for every `NAME=<hex BYTES>` and `NAME=<fernet>`."""
    return re.sub(r"(?m)^(\w+=)<((?:hex|fernet)[^<>]*)>$", lambda found: found[1] + drawn(found[2]), example)


def with_values(params: str, values: Mapping[str, str]) -> str:
    """A params.yaml with other values; the comments stay. Raises ValueError for a key that it does not have."""
    section, written, lines = "", set(), []
    for line in params.splitlines(keepends=True):
        if opened := re.match(r"(\w+):\s", line):
            section = opened[1]
        key = f"{section}.{line.split(':')[0].strip()}" if line.startswith("  ") else section
        if key in values and re.match(r"(  )?\w", line):
            line = re.sub(r": +\S+", lambda _, value=values[key]: f": {value}", line, count=1)
            written.add(key)
        lines.append(line)
    if missing := sorted(set(values) - written):
        raise ValueError(f"params.yaml lacks {', '.join(missing)}; bring docker/prepare.py and params.yaml together")
    return "".join(lines)


def write_once(path: Path, text: str, mode: int) -> None:
    """Write a file with its mode from the first byte on, unless it is there; say which of the two."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = "written"
    try:
        with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text)
    except FileExistsError:
        done = "is there and stays as it is"
    sys.stderr.write(f"{path.relative_to(HERE.parent)} {done}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 docker/prepare.py", description=__doc__)
    parser.add_argument(
        "--kubernetes", action="store_true", help="for docker/kubernetes instead of docker/compose.yaml"
    )
    options = parser.parse_args()
    params = (HERE.parent / "params.yaml").read_text(encoding="utf-8")
    if options.kubernetes:
        base = HERE / "kubernetes" / "base"
        write_once(base / "secrets.env", filled((base / "secrets.env.example").read_text(encoding="utf-8")), 0o600)
        write_once(base / "params.yaml", with_values(params, VALUES | IN_KUBERNETES), 0o644)
        sys.stderr.write("now write what is in <...> into secrets.env, and your addresses into params.yaml\n")
        return
    write_once(HERE / ".env", filled((HERE / ".env.example").read_text(encoding="utf-8")), 0o600)
    write_once(HERE / "deployment" / "params.yaml", with_values(params, VALUES), 0o644)
    inbox = HERE / "deployment" / "inbox"
    inbox.mkdir(exist_ok=True)
    sys.stderr.write(f"footage goes into {inbox.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    main()
