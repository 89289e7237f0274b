"""`python -m faceloop.jobs.leash PARENT COMMAND …`: become a command that the kernel kills when its parent ends.

A worker that is killed must not leave a program behind that still reads and writes.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replaces this process. `PARENT` is the pid of whoever starts it: it may be gone before the kernel was told."""
    parent, *command = arguments
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
