"""What an erasure is judged by: byte strings of person 1, chosen without the code that is judged."""

import base64

from tests.faceloop.erasing_world import NAME, jpeg_of, vector_of
from tests.faceloop.mining_world import PERSON

from faceloop.erasure.needles import Needles
from faceloop.runner import Workspace
from facestore.crops import CropKind, CropReader
from facestore.ids import sha256_hex

KINDS: tuple[CropKind, ...] = ("aligned", "context")


def own_needles(work: Workspace) -> Needles:
    """What the search is judged by, made without the planner: pictures and a vector throughout, ids and the name."""
    jpeg, vector = jpeg_of(work), vector_of(work)
    drawn = jpeg[jpeg.index(b"\xff\xda") + 32 :]  # behind the tables, which every picture has
    raw = [drawn, vector.astype("<f4").tobytes(), vector.astype("<f2").tobytes()]
    windows = [body[place : place + 24] for body in raw for place in range(0, len(body) - 24, 24)]
    texts = [base64.b64encode(body[skip:])[:-4] for body in raw for skip in range(3)]
    windows += [body[place : place + 32] for body in texts for place in range(0, len(body) - 32, 32)]
    theirs = [face for face, person in PERSON.items() if person == 1]
    crops = CropReader(work.path("crops"))
    for face in theirs:
        for kind in KINDS:
            body = crops.jpeg(kind, f"b000/{face}")
            windows += [body[place : place + 24] for place in range(len(body) // 2, len(body) - 24, 240)]
    named = [NAME, *theirs, *(f"t{face}" for face in theirs), *(sha256_hex(face.encode()) for face in theirs)]
    return Needles([*(window for window in windows if len(set(window)) > 9), *(one.encode() for one in named)])
