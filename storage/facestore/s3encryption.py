"""How a bucket is to encrypt what it keeps, as its URL says it."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from facestore.errors import ConfigError

Algorithm = Literal["AES256", "aws:kms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How the server is to encrypt what it keeps: with a key of its own (SSE-S3), or of its key service (SSE-KMS)."""

    algorithm: Algorithm
    key_id: str | None = None

    def request(self) -> dict[str, str]:
        key = {"SSEKMSKeyId": self.key_id} if self.key_id else {}
        return {"ServerSideEncryption": self.algorithm, **key}


def encryption_of(settings: str) -> Encryption | None:
    """Of a bucket's URL, what is behind its `?`. Raises ConfigError for other words than these."""
    if not settings:
        return None
    found = {name: values[-1] for name, values in parse_qs(settings, keep_blank_values=True).items()}
    algorithm, key_id = found.pop("encryption", None), found.pop("key", None)
    if found or (key_id is not None and algorithm != "aws:kms"):
        raise ConfigError(f"a bucket's URL takes ?encryption=AES256 or ?encryption=aws:kms&key=ID, not {settings!r}")
    match algorithm:
        case "AES256" | "aws:kms":
            return Encryption(algorithm=algorithm, key_id=key_id)
    raise ConfigError(f"encryption = {algorithm!r}: write AES256 or aws:kms")
