"""Sharing work out evenly: longest processing time first (Graham 1969), at most 4/3 of the best possible load."""

import heapq
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def share_out(weighed: Iterable[tuple[str, float, Item]], count: int) -> list[list[Item]]:
    """Items, each with a name and its weight, in at most `count` shares of nearly equal weight; no share is empty.

    Names are unique: they decide between equal weights, and the order within a share, so that the order of the input
    does not matter.
    """
    heaviest_first = sorted(weighed, key=lambda entry: (-entry[1], entry[0]))
    shares: list[list[tuple[str, Item]]] = [[] for _ in range(min(count, len(heaviest_first)))]
    lightest = [(0.0, 0, number) for number in range(len(shares))]  # weight, items, share
    for name, weight, item in heaviest_first:
        load, items, number = lightest[0]
        heapq.heapreplace(lightest, (load + weight, items + 1, number))
        shares[number].append((name, item))
    return [[item for _, item in sorted(share, key=lambda entry: entry[0])] for share in shares]
