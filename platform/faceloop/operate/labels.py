"""`python -m faceloop.operate.labels FOLDER PORT`: Label Studio as a part: starts it, ends when it ends, ends it.

Label Studio is started in a session of its own by `facereview.labelstudio.local`; this process stands for it, so that
the supervisor watches all parts in one way. One that survived is taken over.
"""

import signal
import sys
import threading
from pathlib import Path

from facereview.labelstudio.local import running, start_server, stop_server
from facestore.errors import FaceloopError

_LOOK_S = 1.0


def hold(folder: Path, port: int) -> int:
    """Until the server ends (1) or this process is told to (0)."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        start_server(folder, port=port, say=_say)
    except FaceloopError as error:
        _say(str(error))
        return 1
    while not told.wait(_LOOK_S):
        if running(folder) is None:
            _say("Label Studio ended")
            return 1
    stop_server(folder)
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(hold(Path(sys.argv[1]), int(sys.argv[2])))
