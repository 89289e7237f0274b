"""Contradictions left to people: whatever contradicts something is set aside until someone decides."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from faceloop.clustering.conflict import Conflict, Graph, add_link, link_groups, nearest_of, rows_on, shortest_path
from faceloop.identity.conflicts import Names, Settled, contradiction_of, rows_of, statement_of
from faceloop.identity.policy import Policy
from facestore.decisions import Decision

_OUT = ("not_a_face", "ignore")
_TIE = ("same", "is")


def set_all_aside(ranked: Sequence[Decision], aliases: Mapping[str, str], policy: Policy) -> Settled:
    """Set aside every decision of every contradiction that is found, until what remains agrees.

    Decisions that say the same of the same share their fate. First single faces, then groups with two identities, then
    `different`: each proof is taken out before the next is looked for, so no two share a tie.
    """
    statements = _statements(ranked, aliases)
    firsts = [group[0] for group in statements]
    names = Names(firsts, aliases)
    found = list(_about_faces(firsts, names))
    aside = {row for conflict in found for row in rows_of(conflict)}
    graph: Graph = {}
    for row, (a, b) in enumerate(names.ends):
        if row not in aside and firsts[row].verb in _TIE:
            add_link(graph, a, b, row)
    found += _about_identities(graph, names)
    found += _about_pairs(graph, firsts, names)
    aside = {row for conflict in found for row in rows_of(conflict)}
    contradictions = [
        contradiction_of(conflict, members, members, names, policy)
        for conflict in found
        for members in _each_once([statements[row] for row in rows_of(conflict)])
    ]
    kept = [decision for row, group in enumerate(statements) if row not in aside for decision in group]
    return Settled(kept=kept, contradictions=contradictions)


def _statements(ranked: Sequence[Decision], aliases: Mapping[str, str]) -> list[list[Decision]]:
    groups: dict[tuple[str, ...], list[Decision]] = defaultdict(list)
    for decision in ranked:
        groups[statement_of(decision, aliases)].append(decision)
    return list(groups.values())


def _about_faces(firsts: Sequence[Decision], names: Names) -> Iterator[Conflict]:
    out: dict[int, list[int]] = defaultdict(list)
    tied: dict[int, list[int]] = defaultdict(list)
    for row, decision in enumerate(firsts):
        if decision.verb in _OUT:
            out[names.ends[row][0]].append(row)
        elif decision.verb in _TIE:
            for end in names.ends[row]:
                tied[end].append(row)
    for face, outs in out.items():
        ties = tied.get(face)
        if ties:
            pairs = [(outs[0], tie) for tie in ties] + [(other, ties[0]) for other in outs[1:]]
            yield from (Conflict(must_rows=pair, cannot_row=None, path=(face,)) for pair in pairs)


def _about_identities(graph: Graph, names: Names) -> Iterator[Conflict]:
    anchors = set(names.anchors)
    for anchor in names.anchors:
        while path := nearest_of(graph, anchor, anchors):
            yield Conflict(must_rows=_taken(graph, path), cannot_row=None, path=path)


def _about_pairs(graph: Graph, firsts: Sequence[Decision], names: Names) -> Iterator[Conflict]:
    links = [(a, b) for a, neighbours in graph.items() for b in neighbours if a < b]
    group_of = link_groups(np.array(links, np.int64).reshape(-1, 2), names.count)
    for row, decision in enumerate(firsts):
        a, b = names.ends[row]
        if decision.verb == "different" and group_of[a] == group_of[b]:
            while path := shortest_path(graph, a, b):
                yield Conflict(must_rows=_taken(graph, path), cannot_row=row, path=path)


def _taken(graph: Graph, path: tuple[int, ...]) -> tuple[int, ...]:
    """Rows of a path, whose links leave the graph."""
    rows = rows_on(graph, path)
    for a, b in pairwise(path):
        del graph[a][b], graph[b][a]
    return rows


def _each_once(groups: Sequence[Sequence[Decision]]) -> Iterator[list[Decision]]:
    """One decision of each group, so often that every decision is in one of them."""
    firsts = [group[0] for group in groups]
    yield firsts
    for place, group in enumerate(groups):
        for other in group[1:]:
            yield [*firsts[:place], other, *firsts[place + 1 :]]
