"""A stand-in server that outlives the processes that call it: its callers are forked and killed."""

import contextlib
import threading
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from facestore.errors import ServerAway


class Remote:
    """Calls every method of the host's server, from any process; iterators come as lists."""

    def __init__(self, address: str, instance: str) -> None:
        self.instance = instance
        self._address = address
        self._line: Connection | None = None

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                if self._line is None:
                    self._line = Client(self._address)
                self._line.send((name, arguments, named))
                is_good, value = self._line.recv()
            except (OSError, EOFError) as error:
                raise ServerAway(f"the line broke: {error}") from error
            if not is_good:
                raise value
            return value

        return call


@contextlib.contextmanager
def hosted(server: Any, folder: Path) -> Iterator[Remote]:
    """Serves the object on a socket of `folder`, one caller at a time, until the end."""
    listener = Listener(str(folder / "s"), backlog=16)
    ending = threading.Event()

    def serve() -> None:
        while not ending.is_set():
            with contextlib.suppress(EOFError, OSError), listener.accept() as line:
                while not ending.is_set():
                    name, arguments, named = line.recv()
                    line.send(_called(server, name, arguments, named))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    remote = Remote(str(folder / "s"), server.instance)
    try:
        yield remote
    finally:
        remote.hang_up()
        ending.set()
        with contextlib.suppress(OSError), Client(str(folder / "s")):
            pass
        thread.join(10)
        listener.close()


def _called(server: Any, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[bool, Any]:
    try:
        value = getattr(server, name)(*arguments, **named)
        return True, value if not hasattr(value, "__next__") else list(value)
    except Exception as error:
        return False, error
