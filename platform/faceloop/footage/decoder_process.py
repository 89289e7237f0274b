"""The process that decodes: limited, without network and credentials. `apart.py` starts it and speaks to it.

    python -m faceloop.footage.decoder_process SOCKET_FD LIMITS_JSON

The limits contain what a broken or malicious file makes a decoder do: eat memory, spin, crash. They are no wall
against code that has taken the process over; that needs a container around the worker.
"""

import ctypes
import json
import math
import mmap
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from faceloop.footage.walls import DecoderLimits
from faceloop.footage.wire import KEPT_BYTES, Channel, Message
from facestore.errors import MediaError

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # of sched.h
_OPEN_FILES = 64
_STACK_BYTES = 256 * 1024
_THREAD_SPACE_MB = 64  # stacks of the codec's threads
_FRAMES_A_BEAT, _SECONDS_A_BEAT = 64, 0.5


def leave_network() -> bool:
    """Into a network namespace with nothing in it; False where the kernel does not let us. Before any thread starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.unshare(_NEW_NET) == 0 or libc.unshare(_NEW_USER | _NEW_NET) == 0)


def limit_resources(limits: DecoderLimits) -> None:
    """Memory above what the process holds now; no file may be written, no core dumped, few files opened."""
    held_bytes = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    space_bytes = held_bytes + (limits.memory_mb + _THREAD_SPACE_MB) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes, space_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))


class _Stopped(Exception):
    """The worker wants no more of this video."""


class Desk:
    """Answers one worker: what a file is, its picture, its pictures in order."""

    def __init__(self, channel: Channel, limits: DecoderLimits) -> None:
        self._channel = channel
        self._limits = limits
        self._memory: mmap.mmap | None = None
        self._slot_bytes = 0
        self._free: list[int] = []
        self._threads = 1
        self._beats = 0
        self._said_s = 0.0

    def answer(self, message: Message) -> None:
        """Do what a message asks and say how it ended; raises MemoryError after having said so."""
        threads = message.get("threads", 1)
        self._threads = threads if isinstance(threads, int) else 1
        self._say({"is": "begun"})
        self._begin_slots(message)
        try:
            match message["do"]:
                case "probe":
                    self._probe(message)
                case "photo":
                    self._photo(message)
                case "video":
                    self._video(message)
        except _Stopped:
            self._say({"is": "end"})
        except MediaError as error:
            self._say({"is": "refused", "reason": error.reason, "detail": error.detail})
        except MemoryError:
            self._say({"is": "refused", "reason": "decoder_memory", "detail": f"more than {self._limits.memory_mb} MB"})
            raise
        except OSError as error:
            self._say({"is": "unreadable", "errno": error.errno or 0})
        except Exception as error:  # a decoder's own bug must cost one file only
            self._say({"is": "refused", "reason": "decoder_crashed", "detail": type(error).__name__})

    def _say(self, message: Message, descriptor: int | None = None) -> None:
        self._said_s = time.monotonic()
        allowed_s = int(time.process_time()) + 1 + self._limits.silence_s * max(self._threads, 1)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed_s, resource.RLIM_INFINITY))
        self._channel.send(message, descriptor=descriptor)

    def _beat(self) -> None:
        self._beats += 1
        if self._beats % _FRAMES_A_BEAT and time.monotonic() - self._said_s < _SECONDS_A_BEAT:
            return
        self._say({"is": "alive"})
        self._drain()

    def _probe(self, message: Message) -> None:
        from faceloop.footage.probe import CaptureSpec, probe

        spec = CaptureSpec(**{**message["spec"], "decoder": self._limits})  # type: ignore[dict-item, arg-type]
        facts = asdict(probe(_path(message), spec, beat=self._beat))
        captured_at = facts["captured_at"]
        facts["captured_at"] = None if captured_at is None else captured_at.isoformat()
        self._say({"is": "facts", "facts": facts})

    def _photo(self, message: Message) -> None:
        from faceloop.footage.decode import fill_upright

        slot = 0

        def space_for(shape: tuple[int, int, int]):  # type: ignore[no-untyped-def]
            nonlocal slot
            slot = self._take_slot(math.prod(shape))
            return self._space(slot, 0, shape)

        image = fill_upright(_path(message), space_for)
        self._say({"is": "picture", "slot": slot, "shapes": [list(image.shape)]})

    def _video(self, message: Message) -> None:
        from faceloop.footage.decode import PictureSizes, Tally, read_video
        from faceloop.footage.sampling import SamplingParams

        tally = Tally()
        sampling = SamplingParams(**message["sampling"])  # type: ignore[arg-type]
        sizes = PictureSizes(**message["sizes"])  # type: ignore[arg-type]
        pictures = read_video(
            _path(message),
            sampling,
            message["rotation"],  # type: ignore[arg-type]
            tally,
            threads=self._threads,
            max_frames=self._limits.max_frames,
            beat=self._beat,
        )
        number = 0
        try:
            for number, picture in enumerate(pictures):
                sides = sizes.of(number, picture)
                images = [picture.full_bgr(), *(picture.small_bgr(side_px) for side_px in sides)]
                slot = self._take_slot(sum(image.nbytes for image in images))
                start = 0
                for image in images:
                    self._space(slot, start, image.shape)[...] = image
                    start += image.nbytes
                self._say(
                    {
                        "is": "picture",
                        "slot": slot,
                        "shapes": [list(image.shape) for image in images],
                        "sides_px": list(sides),
                        "pts_ms": picture.pts_ms,
                        "is_cut": picture.is_cut,
                        "still_until_ms": picture.still_until_ms,
                        "tally": asdict(tally),
                    }
                )
        except MediaError:
            self._say({"is": "tally", "tally": asdict(tally)})
            raise
        self._say({"is": "end", "tally": asdict(tally)})

    def _space(self, slot: int, start: int, shape: tuple[int, ...]):  # type: ignore[no-untyped-def]
        import numpy as np

        place = slot * self._slot_bytes + start
        return np.ndarray(shape, np.uint8, self._memory, place)

    def _take_slot(self, size_bytes: int) -> int:
        """A slot of the shared memory that nobody reads; waits for one, and asks for larger ones where needed."""
        if size_bytes > self._slot_bytes:
            self._say({"is": "grow", "bytes": size_bytes})
            self._free.clear()
            while True:
                message, descriptor = self._channel.receive_with_descriptor(None)
                self._heed(message)
                if descriptor is not None and message is not None:
                    slots = int(message["slots"])  # type: ignore[arg-type]
                    self._memory = None  # unmapped before the larger one is mapped
                    try:
                        self._memory = mmap.mmap(descriptor, slots * size_bytes)
                    except OSError as error:
                        raise MemoryError from error
                    finally:
                        os.close(descriptor)
                    self._slot_bytes, self._free = size_bytes, list(range(slots))
                    break
        self._drain()
        while not self._free:
            self._hear()
        return self._free.pop()

    def _drain(self) -> None:
        while self._channel.has_message():
            self._hear()

    def _hear(self) -> None:
        message = self._channel.receive(None)
        self._heed(message)
        if message is not None and message["do"] == "free":
            self._free.append(int(message["slot"]))  # type: ignore[arg-type]

    def _heed(self, message: Message | None) -> None:
        if message is None:
            os._exit(0)
        if message["do"] == "stop":
            raise _Stopped

    def forget_slots(self) -> None:
        """Between two files: a large memory goes back; of a small one the next photo may have the use."""
        if self._memory is not None and len(self._memory) > KEPT_BYTES:
            self._memory = None
        self._free.clear()

    def _begin_slots(self, message: Message) -> None:
        slots, slot_bytes = int(message["slots"]), int(message["slot_bytes"])  # type: ignore[arg-type]
        if not slot_bytes:  # the worker has let go of it
            self._memory = None
        self._slot_bytes = slot_bytes if self._memory is not None else 0
        self._free = list(range(slots)) if self._slot_bytes else []


def _path(message: Message) -> Path:
    return Path(os.fsdecode(bytes.fromhex(str(message["path"]))))


def _end_with_the_worker(descriptor: int) -> None:
    """However the worker ends, SIGKILL too, the socket hangs up; a decoder in the midst of a file ends then."""
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    os._exit(0)


def main() -> None:
    """Serve one worker until it hangs up."""
    descriptor = int(sys.argv[1])
    limits = DecoderLimits(**json.loads(sys.argv[2]))
    is_offline = leave_network()
    import faceloop.footage.decode  # noqa: F401  # before memory is counted

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=_end_with_the_worker, args=(descriptor,), daemon=True).start()
    limit_resources(limits)
    channel = Channel(socket.socket(fileno=descriptor))
    desk = Desk(channel, limits)
    channel.send({"is": "ready", "is_offline": is_offline})
    while True:
        message, memory = channel.receive_with_descriptor(None)
        if message is None:
            return
        if memory is not None:
            os.close(memory)
        if message["do"] in ("free", "stop", "grown"):
            continue  # came after the end of what it was about
        try:
            desk.answer(message)
        except MemoryError:
            return
        desk.forget_slots()


if __name__ == "__main__":
    main()
