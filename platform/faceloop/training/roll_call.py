"""Who takes part in a training of several machines: each keeps a connection to the first while it lasts.

A process that ends closes its connection, a machine that is gone stops answering: either way all know within seconds,
where a collective would wait for half an hour. Needs no torch.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread

from facestore.errors import StageError

INVITATION = "meeting.json"
_HELLO_S = 5.0  # that who connects has to say who it is
_LONGEST_LINE_BYTES = 4096
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 6))  # gone after 45 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What the first machine writes on the shared volume: where it is met, and for which attempt at which training."""

    address: str
    port: int  # of the roll call
    master_port: int  # of torch's store
    run_key: str
    token: str
    nodes: int
    ranks: int  # on each
    threads: int  # of each machine

    def write(self, folder: Path) -> None:
        waiting = folder / f"{INVITATION}.partial"
        waiting.touch(mode=0o600)
        waiting.write_text(json.dumps(asdict(self), sort_keys=True), encoding="utf-8")
        waiting.rename(folder / INVITATION)

    @classmethod
    def read(cls, folder: Path) -> "Invitation | None":
        """None where nobody invites."""
        try:
            return cls(**json.loads((folder / INVITATION).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(slots=True)
class Line:
    """A connection on which each side says JSON objects, one a line."""

    connection: socket.socket
    _read: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in _KEEPALIVE:
            self.connection.setsockopt(socket.IPPROTO_TCP, option, seconds)

    def say(self, **words: str | int) -> None:
        """What the other side does not hear any more is lost: its silence says so."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(words).encode() + b"\n")

    def hear(self, patience_s: float | None) -> dict[str, object] | None:
        """The next object; None when the other side is gone. Raises TimeoutError after `patience_s`."""
        self.connection.settimeout(patience_s)
        while b"\n" not in self._read:
            try:
                piece = self.connection.recv(_LONGEST_LINE_BYTES)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not piece or len(self._read) > _LONGEST_LINE_BYTES:
                return None
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        try:
            words = json.loads(line)
        except ValueError:
            return None
        return words if isinstance(words, dict) else None

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # wakes who listens in another thread
        self.connection.close()


class RollCall:
    """The first machine's side. Use as a context; nobody can join once it has ended."""

    def __init__(self, folder: Path, address: str, run_key: str, *, nodes: int, ranks: int, threads: int) -> None:
        self._door = socket.create_server(("", 0), backlog=nodes)
        self.invitation = Invitation(
            address=address, port=self._door.getsockname()[1], master_port=_free_port(), run_key=run_key,
            token=secrets.token_hex(16), nodes=nodes, ranks=ranks, threads=threads,
        )  # fmt: skip
        self._folder = folder
        self._lines: dict[int, Line] = {}
        self._watchers: list[Thread] = []
        self._failed = Event()
        self.lost: str | None = None  # which node went without a word …
        self.fault: str | None = None  # … or with one

    def __enter__(self) -> "RollCall":
        self.invitation.write(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        (self._folder / INVITATION).unlink(missing_ok=True)
        self._door.close()
        for line in self._lines.values():
            line.close()
        for watcher in self._watchers:
            watcher.join()

    def gather(self, patience_s: float) -> None:
        """Wait until every other machine is here. Raises StageError naming those that did not come."""
        until = time.monotonic() + patience_s
        while absent := [node for node in range(1, self.invitation.nodes) if node not in self._lines]:
            self._door.settimeout(max(0.001, until - time.monotonic()))
            try:
                connection, _ = self._door.accept()
            except TimeoutError:
                raise StageError(
                    f"train: {len(absent)} of {self.invitation.nodes} nodes did not come in {patience_s:g} s: node "
                    f"{', '.join(map(str, absent))}; start `faceloop train-node --node {absent[0]}` on its machine"
                ) from None
            self._admit(Line(connection))

    def _admit(self, line: Line) -> None:
        try:
            words = line.hear(_HELLO_S) or {}
        except TimeoutError:
            words = {}
        token, node = words.get("token"), words.get("node")
        if not isinstance(token, str) or not secrets.compare_digest(token.encode(), self.invitation.token.encode()):
            line.close()
        elif not isinstance(node, int) or not 1 <= node < self.invitation.nodes:
            line.say(no=f"nodes are 0 to {self.invitation.nodes - 1}, and 0 runs the stage")
            line.close()
        elif node in self._lines:
            line.say(no=f"node {node} is there already")
            line.close()
        else:
            self._lines[node] = line
            line.say(welcome=1)

    def start(self, on_failure: Callable[[], None]) -> None:
        """Send all off; from now on `on_failure` is called, in another thread, when one of them fails."""
        for node, line in self._lines.items():
            line.say(go=1)
            self._watchers.append(Thread(target=self._watch, args=(node, line, on_failure), daemon=True))
            self._watchers[-1].start()

    def _watch(self, node: int, line: Line, on_failure: Callable[[], None]) -> None:
        words = line.hear(None)
        if words is not None and words.get("ended") == 0:
            return
        if words is None:
            self.lost = self.lost or (
                f"node {node} of {self.invitation.nodes} is gone: it was killed, or its machine was; run train again "
                "on all of them, it goes on from the last checkpoint"
            )
        else:
            self.fault = self.fault or f"node {node}: {words.get('why')}"
        self._failed.set()
        on_failure()

    def why(self, patience_s: float) -> str | None:
        """After a failure here: what the others say to it, if they do within `patience_s`. A lost node comes first."""
        self._failed.wait(patience_s)
        return self.lost

    def dismiss(self) -> None:
        """All went well."""
        for line in self._lines.values():
            line.say(done=1)


def _free_port() -> int:
    with socket.create_server(("", 0)) as door:
        port: int = door.getsockname()[1]
    return port
