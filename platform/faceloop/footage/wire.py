"""Messages between a worker and its decoder: JSON in packets of a socket, never pickles: the decoder is not trusted."""

import json
import os
import select
import socket
from collections.abc import Mapping

from facestore.ids import JsonValue

Message = Mapping[str, JsonValue]
_LONGEST_BYTES = 1 << 16
KEPT_BYTES = 32 << 20  # of shared memory, from photo to photo: fresh pages cost as much as a small photo's decoding


class Channel:
    """One end. Messages come whole and in order."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, message: Message, *, descriptor: int | None = None) -> None:
        """Raises OSError when the other end is closed."""
        packet = json.dumps(message).encode()
        socket.send_fds(self._end, [packet], [] if descriptor is None else [descriptor])

    def receive(self, timeout_s: float | None) -> Message | None:
        """The next message; None when the other end is closed.

        Raises TimeoutError after `timeout_s` (None: never), ValueError for what is no message.
        """
        return self.receive_with_descriptor(timeout_s)[0]

    def receive_with_descriptor(self, timeout_s: float | None) -> tuple[Message | None, int | None]:
        """As `receive`, with the file descriptor that came along; the caller closes it."""
        self._end.settimeout(timeout_s)
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._end, _LONGEST_BYTES, 1)
        except ConnectionError:
            return None, None
        finally:
            self._end.settimeout(None)
        if not packet:
            return None, None
        try:
            message = json.loads(packet)
            if not isinstance(message, dict):
                raise ValueError(f"a {type(message).__name__} is no message")
        except ValueError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return message, descriptors[0] if descriptors else None

    def has_message(self) -> bool:
        """Whether `receive` would return at once."""
        return bool(select.select([self._end], [], [], 0)[0])

    def close(self) -> None:
        self._end.close()
