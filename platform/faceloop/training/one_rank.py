"""`python -m faceloop.training.one_rank FOLDER`, started by torchrun: one process of a training of several."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from faceloop.progress import Item, SilentProgress
from faceloop.training.course import Course
from faceloop.training.launching import FAULT, SAID, TORCHRUN_PID, end_with_parent


def main(arguments: list[str]) -> None:
    """Rank and number of ranks come from torchrun; a fault goes to a file that the stage reads."""
    end_with_parent(int(os.environ[TORCHRUN_PID]))
    folder = Path(arguments[0])
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    status = 1
    try:
        course = Course.read(folder)
        _run(course, rank, ranks)
        status = 0
    except Exception as error:
        (folder / FAULT.format(rank=rank)).write_text(str(error), encoding="utf-8")
        traceback.print_exc()
    finally:  # at once: what torch takes down after a fault may wait for ever (see `joined`)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(course: Course, rank: int, ranks: int) -> None:
    from faceloop.training.ranks import device_for, joined
    from faceloop.training.turn import run_course

    device = device_for(course.params.device, local_rank=int(os.environ["LOCAL_RANK"]))
    with joined(rank, ranks, device=device) as world:
        fitted = run_course(course, world, _Saying() if world.is_first else SilentProgress())
        if world.is_first:
            fitted.write(course.folder)


def _say(text: str) -> None:
    sys.stdout.write(f"{SAID}{text}\n")
    sys.stdout.flush()


class _Saying:
    """Progress as lines that the launching process passes on."""

    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        yield from items

    def say(self, text: str) -> None:
        _say(text)


if __name__ == "__main__":
    main(sys.argv[1:])
