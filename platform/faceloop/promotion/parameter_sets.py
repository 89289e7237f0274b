"""Parameter sets: named overrides of section `pack` that a release may be made with."""

import yaml

from faceloop.loop_params import LoopParams
from faceloop.params import Tree, section
from faceloop.stage import load_stage
from facestore.errors import ConfigError

_SECTION = "pack"


def overrides_of(tree: Tree, name: str) -> tuple[str, ...]:
    """The overrides of a set, as `faceloop run pack` takes them with `-S`.

    Raises ConfigError for an unknown set, and for one that sets what pack does not have or allow.
    """
    known = section(tree, "loop", LoopParams).parameter_sets
    if name not in known:
        raise ConfigError(f"--set {name!r}: loop.parameter_sets has {', '.join(sorted(known))}")
    values = dict(found) if isinstance(found := tree.get(_SECTION), dict) else {}
    for override in known[name]:
        key, equals, text = override.partition("=")
        place, _, leaf = key.partition(".")
        if not equals or place != _SECTION or leaf not in values:
            raise ConfigError(f"loop.parameter_sets.{name}: {override!r} is no {_SECTION}.KEY=VALUE of params.yaml")
        values[leaf] = yaml.safe_load(text)
    section({_SECTION: values}, _SECTION, load_stage(_SECTION).params)
    return tuple(known[name])
