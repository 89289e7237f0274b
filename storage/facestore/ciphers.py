"""The one home of cryptography: AES-256-GCM under a key a face, keys wrapped by a master key, Ed25519 signatures.

A nonce is no random number here but a keyed hash of what is sealed (the idea of SIV: Rogaway and Shrimpton, "A
Provable-Security Treatment of the Key-Wrap Problem", 2006), so that equal runs give equal bytes. Two payloads under one
key share a nonce with probability n²/2⁹⁷; a key seals a handful of payloads, all of one face.
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from facestore.errors import DataError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES
_VERSION = b"\x01"  # first byte of what is sealed: never that of a JPEG


def fresh_key() -> bytes:
    """256 random bits."""
    return secrets.token_bytes(KEY_BYTES)


def fingerprint(key: bytes) -> str:
    """A key's public name, 16 hex digits; says nothing of the key."""
    return hmac.digest(key, b"faceloop key id", "sha256").hex()[:16]


class Cipher:
    """Seals under one 256-bit key. Equal payloads under an equal context give equal bytes; 29 bytes longer."""

    def __init__(self, key: bytes) -> None:
        self._nonce_key = hmac.digest(key, b"faceloop nonce", "sha256")
        self._aes = AESGCM(hmac.digest(key, b"faceloop aes-256-gcm", "sha256"))

    def seal(self, context: bytes, payload: bytes) -> bytes:
        """Version, nonce, ciphertext with its tag. `context` is not kept: who opens it must say the same."""
        length = len(context).to_bytes(4, "big")
        nonce = hmac.digest(self._nonce_key, length + context + payload, "sha256")[:NONCE_BYTES]
        return _VERSION + nonce + self._aes.encrypt(nonce, payload, _VERSION + context)

    def open(self, context: bytes, sealed: bytes) -> bytes:
        """Raises DataError when it was changed, sealed under another key or for another context."""
        if len(sealed) < OVERHEAD_BYTES or sealed[:1] != _VERSION:
            raise DataError("what should be encrypted has another layout; run the stage that made it again")
        nonce = sealed[1 : 1 + NONCE_BYTES]
        try:
            return self._aes.decrypt(nonce, sealed[1 + NONCE_BYTES :], _VERSION + context)
        except InvalidTag:
            raise DataError("encrypted bytes do not open under their key; run the stage that made them again") from None


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs under one Ed25519 key, which is made of 32 secret bytes."""

    seed: bytes

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    def public_key(self) -> bytes:
        """32 bytes that verify, and may be given to anyone."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Signer({key_name(self.public_key())})"


def key_name(public_key: bytes) -> str:
    """A public key's short name, 16 hex digits."""
    return sha256(public_key).hexdigest()[:16]


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of the public key (32 bytes) signed these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
