"""Parameter sets: named overrides that a release, its training, its evaluation and its export may be made with."""

import copy

from faceloop.loop_params import LoopParams
from faceloop.params import Tree, section, yaml_value
from faceloop.stage import load_stage
from facestore.errors import ConfigError

SECTIONS = ("pack", "train", "evaluate", "export")


def overrides_of(tree: Tree, name: str) -> tuple[str, ...]:
    """The overrides of a set, as `faceloop run` takes them with `-S`.

    Raises ConfigError for an unknown set, and for one that sets what these stages do not have or allow.
    """
    known = section(tree, "loop", LoopParams).parameter_sets
    if name not in known:
        raise ConfigError(f"--set {name!r}: loop.parameter_sets has {', '.join(sorted(known))}")
    tried = {place: copy.deepcopy(tree.get(place)) for place in SECTIONS}
    for override in known[name]:
        if not _is_set(tried, override):
            raise ConfigError(
                f"loop.parameter_sets.{name}: {override!r} is no KEY=VALUE of the sections {', '.join(SECTIONS)}"
            )
    for place in SECTIONS:
        section(tried, place, load_stage(place).params)
    return tuple(known[name])


def _is_set(tree: Tree, override: str) -> bool:
    """Set one value in place; False where there is no such key."""
    key, equals, text = override.partition("=")
    *parents, leaf = key.split(".")
    node = tree if parents else None
    for parent in parents:
        found = node.get(parent) if node is not None else None
        node = found if isinstance(found, dict) else None
    if not equals or node is None or leaf not in node:
        return False
    node[leaf] = yaml_value(text)
    return True
