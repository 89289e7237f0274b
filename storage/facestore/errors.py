"""What can go wrong, one class per thing a caller may want to catch.

FaceloopError
├── ConfigError          params or a manifest of settings is wrong: key, value, allowed range
│   ├── LicenceRefused   a model pack whose licence was not accepted
│   └── ModelNotAllowed  a model file that is not on the list of those that may be loaded
├── StageError           a stage cannot run: missing input, mixed runs
│   ├── InputsNotReady   an input was not made yet, or is being made anew
│   ├── ConsentRefused   what it reads may not be used for its purpose
│   ├── ConsentChanged   consents changed while it ran: nothing of it was published
│   ├── LeaseHeld        another run does the same work now
│   └── LeaseLost        another run took this one's work over: nothing of it was published
├── DataError            stored or given data is not what it says
│   ├── ContractMismatch vectors of two embedding contracts met
│   ├── ShardCorrupt     a shard or crop store fails its hash or its index
│   ├── KeyShredded      what one face's key sealed can never be read again
│   ├── AuditBroken      the audit log is not the one that was written
│   ├── ObjectCorrupt    an object's bytes are not those that its key promises
│   └── ModelCorrupt     a model file fails its sha256 or cannot be loaded
├── MediaError           one footage cannot be used; carries a reason code
├── StoreError           the object store or the ledger failed
│   ├── StoreAway        no connection, no answer in time, a database that others hold: try later
│   ├── ObjectMissing    no object is under this key
│   └── SchemaRefused    the catalogue's tables are of another revision than this version's
└── ServerError          the labelling server did not do what was asked
    ├── ServerAway       no connection, a time-out, an answer of 5xx: try later
    ├── ServerRefused    token expired or of another kind, forbidden: a person must act
    └── ServerGone       the project, task or annotation is not there
"""


class FaceloopError(Exception):
    """Root of all our errors. The message says what happened, then what to do."""


class ConfigError(FaceloopError):
    """Raised before work starts; names the key, the value and the allowed range."""


class LicenceRefused(ConfigError):
    """The model pack's licence needs an explicit acceptance in the params."""


class ModelNotAllowed(ConfigError):
    """A model file's sha256 is not among those that the params allow; it was not opened by any engine."""


class NotCalibrated(ConfigError):
    """No calibration of this embedding contract is named or shipped, and none can be measured on so few people."""


class StageError(FaceloopError):
    """The stage cannot start or publish."""


class InputsNotReady(StageError):
    """What this would read is missing, or of two versions: whoever makes it comes first, and this after it."""


class ConsentRefused(StageError):
    """What this would read may not be used for its purpose: whoever made it leaves that out first."""


class ConsentChanged(StageError):
    """A consent that this run rests on was given, taken back or ran out meanwhile; what it made is thrown away."""


class LeaseHeld(StageError):
    """Another run does the same work now: wait, or try later."""


class LeaseLost(StageError):
    """This run was taken for dead and another took over; what it made is thrown away."""


class DataError(FaceloopError):
    """Stored or given data contradicts its schema, hash or index."""


class ContractMismatch(DataError):
    """Embeddings of different embedding contracts were about to be mixed."""


class ShardCorrupt(DataError):
    """A shard's bytes, index or record hash do not agree."""


class KeyShredded(DataError):
    """The key of a face (or tracklet) was destroyed, or is not of this root: its payloads can never be read again."""

    def __init__(self, owner_id: str) -> None:
        super().__init__(
            f"there is no key of {owner_id}: it was destroyed when it was erased, or these bytes are of another root; "
            "run the stage that made them again without it"
        )
        self.owner_id = owner_id

    def __reduce__(self) -> tuple[type["KeyShredded"], tuple[str]]:
        return type(self), (self.owner_id,)  # workers pass it on


class AuditBroken(DataError):
    """Entries of the audit log were changed, removed, put in or reordered, or its end was cut off."""


class ObjectCorrupt(DataError):
    """An object of the store has other bytes than its key promises."""


class ModelCorrupt(DataError):
    """A model file is missing, fails its sha256, or is refused by the engine."""


class MediaError(FaceloopError):
    """One footage file cannot be used.

    `reason` is the snake_case code that the rejection tables carry.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class StoreError(FaceloopError):
    """The object store or the ledger could not do what was asked."""


class StoreAway(StoreError):
    """The store or the database does not answer now, or others hold it: the same call may go through later."""


class ErasureIncomplete(StoreError):
    """Bytes of a person are still there after everything was removed; the erasure is not certified."""


class SchemaRefused(StoreError):
    """The catalogue's tables are of a revision that this version does not work with; nothing was changed."""


class ObjectMissing(StoreError):
    """No object is under this key."""


class ServerError(FaceloopError):
    """The labelling server did not do what was asked."""


class ServerAway(ServerError):
    """No connection, a time-out or an error of its own: the same call may go through later."""


class ServerRefused(ServerError):
    """The token is expired, of another kind or not allowed to do this; trying again does not help."""


class ServerGone(ServerError):
    """The project, task or annotation is not there."""
