"""A SIGKILL at any step of an erasure."""

import os
import signal

from tests.faceloop.erasing_world import STEPS

from faceloop.erasure import saga
from facestore.erasures import Erasures

BEGUN = ("restricted", "planned")
ENDING = ("searched", "buried", "certified", "audited", "ended")
POINTS = [*BEGUN, *(f"{step} {moment}" for step in STEPS for moment in ("done", "noted")), *ENDING]


def killed_at(point: str) -> None:
    """From here on this process dies at the point: by SIGKILL, as soon as what the point names is done."""

    def after(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def then_die(*words: object, **named: object) -> None:
            real(*words, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, then_die)

    places: dict[str, tuple[object, str]] = {
        "restricted": (saga, "restrict"), "planned": (saga, "write_plan"), "searched": (saga, "search_everywhere"),
        "buried": (saga, "bury"), "certified": (saga, "write_certificate"), "audited": (saga, "_audit"),
        "ended": (Erasures, "end"),
    }  # fmt: skip
    if point in places:
        after(*places[point])
        return
    step, _, moment = point.partition(" ")
    real = Erasures.note_step

    def note_step(self: Erasures, erasure_id: str, name: str, what: object, **named: object) -> None:
        if moment == "noted" or name != step:
            real(self, erasure_id, name, what, **named)  # type: ignore[arg-type]
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Erasures.note_step = note_step  # type: ignore[assignment]
