"""What to do when decisions contradict one another: the `decisions` section of the params."""

from typing import Literal

from faceloop.params import StageParams

Policy = Literal["latest", "majority", "adjudicate"]


class DecisionParams(StageParams):
    """The section `decisions`."""

    policy: Policy  # newest first, most annotators first, or set aside both until someone decides
