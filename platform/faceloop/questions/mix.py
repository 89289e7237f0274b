"""Several streams of questions as one: who is who in its order, the others spread among them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facestore.questions import Question


def mixed(main: Sequence[Question], others: Sequence[Sequence[Question]], *, seed: int) -> list[Question]:
    """All questions with their ranks, from 0. Every stream keeps its own order.

    A question of another stream falls at random within its even share of the whole, so that nobody can tell from its
    place what it is. The same seed gives the same. A question that occurs twice stays where it comes first.
    """
    rng = np.random.default_rng(seed)
    placed = [((place + 0.5) / len(main), 0, place, question) for place, question in enumerate(main)]
    for number, stream in enumerate(others, start=1):
        moments = (np.arange(len(stream)) + rng.random(len(stream))) / max(len(stream), 1)
        placed += [
            (float(moment), number, place, question)
            for place, (moment, question) in enumerate(zip(moments, stream, strict=True))
        ]
    first: dict[str, Question] = {}
    for _, _, _, question in sorted(placed, key=lambda entry: entry[:3]):
        first.setdefault(question.question_id, question)
    return [replace(question, rank=rank) for rank, question in enumerate(first.values())]
