"""What can go wrong, one class per thing a caller may want to catch.

FaceloopError
├── ConfigError          params or a manifest of settings is wrong: key, value, allowed range
│   └── LicenceRefused   a model pack whose licence was not accepted
├── StageError           a stage cannot run: missing input, mixed runs
│   ├── InputsNotReady   an input was not made yet, or is being made anew
│   ├── LeaseHeld        another run does the same work now
│   └── LeaseLost        another run took this one's work over: nothing of it was published
├── DataError            stored or given data is not what it says
│   ├── ContractMismatch vectors of two embedding contracts met
│   ├── ShardCorrupt     a shard or crop store fails its hash or its index
│   └── ModelCorrupt     a model file fails its sha256 or cannot be loaded
├── MediaError           one footage cannot be used; carries a reason code
├── StoreError           the object store or the ledger failed
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


class NotCalibrated(ConfigError):
    """No calibration of this embedding contract is named or shipped, and none can be measured on so few people."""


class StageError(FaceloopError):
    """The stage cannot start or publish."""


class InputsNotReady(StageError):
    """What this would read is missing, or of two versions: whoever makes it comes first, and this after it."""


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


class ServerError(FaceloopError):
    """The labelling server did not do what was asked."""


class ServerAway(ServerError):
    """No connection, a time-out or an error of its own: the same call may go through later."""


class ServerRefused(ServerError):
    """The token is expired, of another kind or not allowed to do this; trying again does not help."""


class ServerGone(ServerError):
    """The project, task or annotation is not there."""
