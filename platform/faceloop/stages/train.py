"""train: under construction."""

from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from facestore.errors import StageError

VERSION = 1


class Params(StageParams):
    seed: int


def run(*, release: In, candidate: Out, params: Params, context: Context) -> Report:
    raise StageError("train: under construction")
