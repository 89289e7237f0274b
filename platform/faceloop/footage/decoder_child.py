"""A decoder seen from its worker: started, asked, watched, stopped; kept for the next file, replaced when it broke."""

import atexit
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from faceloop.footage.walls import DecoderLimits
from faceloop.footage.wire import KEPT_BYTES, Channel, Message
from facestore.errors import ConfigError, MediaError
from facestore.ids import JsonValue

_START_S = 120.0
_HANDED_ON = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONPYCACHEPREFIX")
_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK  # a mapped file that shrinks would kill the worker that reads it
_MB = 1024 * 1024
# glibc gives a picture's memory back to the kernel when it is freed, and takes it anew for the next one, page by page.
_FREED_MEMORY_STAYS = {"MALLOC_TRIM_THRESHOLD_": str(32 * _MB), "MALLOC_MMAP_THRESHOLD_": str(16 * _MB)}


class DecoderChild:
    """One process. Not for two threads at once."""

    def __init__(self, limits: DecoderLimits) -> None:
        """Starts it; whether it started shows with the first answer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._limits = limits
        self._channel = Channel(ours)
        self._memory: mmap.mmap | None = None
        self._slots = self._slot_bytes = 0
        self._is_ready = self._is_busy = self._is_stream = False
        self.is_usable = True
        self.has_served = False  # if so, a lack of memory may come from the files before
        self.is_offline: bool | None = None  # known once it is ready
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "faceloop.footage.decoder_process",
                    str(theirs.fileno()),
                    json.dumps(asdict(limits)),
                ],
                env=_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # codecs print file names
            )

    @property
    def is_idle(self) -> bool:
        """Whether it can be asked anew."""
        return self.is_usable and not self._is_busy

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, message: Message, *, slots: int) -> None:
        """Ask for something; `next_answer` has what comes. Raises ConfigError when the process does not start."""
        self._await_start()
        self.has_served = self._is_busy = True
        self._is_stream = message["do"] == "video"
        if self._is_stream or self._memory is None or len(self._memory) > KEPT_BYTES:
            self._memory = None
        self._slots, self._slot_bytes = slots, 0 if self._memory is None else len(self._memory) // slots
        with suppress(OSError):  # it ended meanwhile: the answer says how
            self._channel.send({**message, "slots": slots, "slot_bytes": self._slot_bytes})

    def next_answer(self) -> Message:
        """The next message that is not a mere sign of life. Raises MediaError for what it refuses, when it breaks, or
        says nothing for too long; OSError for a file that cannot be read."""
        while True:
            try:
                answer = self._channel.receive(self._limits.silence_s)
            except TimeoutError as error:
                self.close()
                raise MediaError("decoder_timeout", f"no sign of life for {self._limits.silence_s} s") from error
            except ValueError as error:
                raise self._broken("an answer that makes no sense") from error
            if answer is None:
                raise self._broken(None)
            match answer.get("is"):
                case "begun" | "alive":
                    continue
                case "grow":
                    self._grow(answer)
                case "refused":
                    self._is_busy = False
                    self.is_usable = answer["reason"] != "decoder_memory"
                    raise MediaError(str(answer["reason"]), str(answer["detail"]))
                case "unreadable":
                    self._is_busy = False
                    number = answer["errno"] if isinstance(answer["errno"], int) else 0
                    raise OSError(number, os.strerror(number))
                case kind:
                    self._is_busy = self._is_stream and kind != "end"
                    return answer

    def images(self, answer: Message) -> list[npt.NDArray[np.uint8]]:
        """Copies of the (height, width, 3) pictures that an answer is about; their place is free afterwards."""
        try:
            slot, shapes = answer["slot"], answer["shapes"]
            if self._memory is None or not isinstance(slot, int) or not isinstance(shapes, list):
                raise ValueError("no place")
            if not 0 <= slot < self._slots:
                raise ValueError("no such slot")
            images: list[npt.NDArray[np.uint8]] = []
            place, end = slot * self._slot_bytes, (slot + 1) * self._slot_bytes
            for shape in shapes:
                height, width = _size_of(shape)
                if place + height * width * 3 > end:
                    raise ValueError("no such picture")
                images.append(np.ndarray((height, width, 3), np.uint8, self._memory, place).copy())
                place += height * width * 3
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken("an answer that makes no sense") from error
        with suppress(OSError):
            self._channel.send({"do": "free", "slot": slot})
        return images

    def stop(self) -> None:
        """No more of what was begun; afterwards it can be asked anew, or is not usable any more."""
        if not self._is_busy or not self.is_usable:
            return
        with suppress(OSError):
            self._channel.send({"do": "stop"})
        try:
            while self._is_busy:
                if self.next_answer()["is"] == "end":
                    return
        except (MediaError, OSError):
            return

    def close(self) -> None:
        """End the process, whatever it does."""
        self.is_usable = self._is_busy = False
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """In a forked process: it belongs to the parent."""
        self._channel.close()
        self._process.returncode = 0

    def _await_start(self) -> None:
        if self._is_ready:
            return
        try:
            answer = self._channel.receive(_START_S)
        except (TimeoutError, ValueError):
            answer = None
        if answer is None or answer.get("is") != "ready":
            self.close()
            raise ConfigError("the decoder process does not start; see what `import av` says, or set is_apart: false")
        self._is_ready, self.is_offline = True, bool(answer["is_offline"])

    def _grow(self, answer: Message) -> None:
        size_bytes = answer["bytes"]
        if not isinstance(size_bytes, int) or not 0 < size_bytes <= self._limits.memory_mb * _MB:
            self.close()
            raise MediaError("decoder_memory", f"a picture of more than {self._limits.memory_mb} MB")
        descriptor = os.memfd_create("pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, self._slots * size_bytes)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._memory = mmap.mmap(descriptor, self._slots * size_bytes, prot=mmap.PROT_READ)
            self._slot_bytes = size_bytes
            with suppress(OSError):
                self._channel.send({"do": "grown", "slots": self._slots}, descriptor=descriptor)
        finally:
            os.close(descriptor)

    def _broken(self, why: str | None) -> MediaError:
        """How it ended; a processor limit shows as a signal."""
        if why is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        ended = self._process.returncode
        self.close()
        if ended == -signal.SIGXCPU:
            return MediaError("decoder_timeout", "its processor time is used up")
        return MediaError("decoder_crashed", why or f"exit status {ended}")


def _size_of(shape: JsonValue) -> tuple[int, int]:
    """Height and width of a colour picture, px; raises ValueError for another shape."""
    match shape:
        case [int(height), int(width), 3] if height > 0 and width > 0:
            return height, width
    raise ValueError("no picture")


def _environment() -> dict[str, str]:
    """Nothing of ours: no keys, tokens, addresses. One arena and one thread, or memory cannot be bounded."""
    handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    return {
        **handed_on,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **_FREED_MEMORY_STAYS,
    }


_lock = threading.Lock()
_idle: list[tuple[DecoderLimits, DecoderChild]] = []


@contextmanager
def borrowed(limits: DecoderLimits, *, is_new: bool = False) -> Iterator[DecoderChild]:
    """A decoder of this process that nobody uses now; a new one where there is none, or where `is_new` asks for it."""
    child = (None if is_new else _taken(limits)) or DecoderChild(limits)
    try:
        yield child
    finally:
        _give_back(limits, child)


def _taken(limits: DecoderLimits) -> DecoderChild | None:
    with _lock:
        for place, (theirs, child) in enumerate(_idle):
            if theirs == limits:
                del _idle[place]
                return child
    return None


def _give_back(limits: DecoderLimits, child: DecoderChild) -> None:
    if not child.is_idle:
        child.close()
        return
    with _lock:
        _idle.append((limits, child))


def close_idle() -> None:
    """End the decoders that nobody uses."""
    with _lock:
        ended, _idle[:] = list(_idle), []
    for _, child in ended:
        child.close()


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for _, child in _idle:
        child.abandon()
    _idle.clear()


atexit.register(close_idle)
os.register_at_fork(after_in_child=_forget_after_fork)
