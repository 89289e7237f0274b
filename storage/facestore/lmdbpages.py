"""Whether a file is laid out as LMDB lays them out, found out without LMDB.

LMDB trusts its file: a page number beyond the end, or a record said to be longer than the file, kills the process
(SIGBUS, SIGSEGV) instead of raising. So its two meta pages and every page that they lead to are looked at here first,
with bounds. Layout of liblmdb 0.9, little endian, 64 bit. Contents are not looked at: hashes do that.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import ShardCorrupt

_PAGE_HEAD = struct.Struct("<QHHHH")  # number, pad, flags, lower, upper; an overflow page: number, pad, flags, pages
_META_HEAD = struct.Struct("<IIQQ")  # magic, version, address, map size
_TREE = struct.Struct("<IHHQQQQQ")  # pad, flags, depth, branch, leaf and overflow pages, entries, root
_META_TAIL = struct.Struct("<QQ")  # last page, transaction
_NODE = struct.Struct("<HHHH")  # size or page number low, high; flags or page number; key bytes
_LONG = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META, _DIRTY = 0x01, 0x02, 0x04, 0x08, 0x10
_BIG = 0x01  # the record lies on overflow pages
_FREE_FLAGS = 0x4008  # whole numbers as keys; one file. Never 0x01: it would choose where in memory it is mapped
_NONE = 0xFFFF_FFFF_FFFF_FFFF
_META_BYTES = _PAGE_HEAD.size + _META_HEAD.size + 2 * _TREE.size + _META_TAIL.size
_MOST_LEVELS = 16
PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    depth: int
    entries: int
    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metas:
    page_bytes: int
    last_page: int
    free: _Tree
    main: _Tree


class _Wrong(Exception):
    """What does not hold."""


def check_pages(path: Path) -> None:
    """Raises ShardCorrupt, saying what does not hold, where LMDB could be led astray by the file."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size < 2 * PAGE_SIZES[0]:
                raise _Wrong(f"{size} bytes are no database")
            with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) as pages:
                view = memoryview(pages)
                try:
                    found = _metas(view)
                    _walk(view, found, found.free, is_free=True)
                    _walk(view, found, found.main, is_free=False)
                finally:
                    view.release()
    except _Wrong as error:
        raise ShardCorrupt(f"{path}: {error}; rebuild it") from error


def _metas(view: memoryview) -> _Metas:
    """The newer of the two meta pages. Both must hold: LMDB writes them in turns and falls back to the older."""
    first_tree = _PAGE_HEAD.size + _META_HEAD.size
    (page_bytes,) = struct.unpack_from("<I", view, first_tree)
    if page_bytes not in PAGE_SIZES or len(view) < 2 * page_bytes:
        raise _Wrong(f"pages of {page_bytes} bytes in a file of {len(view)}")
    newest: tuple[int, _Metas] | None = None
    for number in (0, 1):
        start = number * page_bytes
        page, _, flags, _, _ = _PAGE_HEAD.unpack_from(view, start)
        magic, version, _, map_bytes = _META_HEAD.unpack_from(view, start + _PAGE_HEAD.size)
        if page != number or flags != _META or magic != _MAGIC or version != _VERSION:
            raise _Wrong(f"page {number} is no meta page of version {_VERSION}")
        last_page, transaction = _META_TAIL.unpack_from(view, start + first_tree + 2 * _TREE.size)
        if last_page < 1 or (last_page + 1) * page_bytes > len(view):
            raise _Wrong(f"{len(view)} bytes, its header promises {(last_page + 1) * page_bytes}")
        if map_bytes and map_bytes < (last_page + 1) * page_bytes:
            raise _Wrong("its map is smaller than its pages")
        free = _tree(view, start + first_tree, last_page, _FREE_FLAGS, page_bytes)
        main = _tree(view, start + first_tree + _TREE.size, last_page, 0, 0)
        if newest is None or transaction > newest[0]:
            newest = transaction, _Metas(page_bytes=page_bytes, last_page=last_page, free=free, main=main)
    if newest is None:
        raise _Wrong("it has no meta page")
    return newest[1]


def _tree(view: memoryview, start: int, last_page: int, flags: int, pad: int) -> _Tree:
    found_pad, found_flags, depth, _, _, _, entries, root = _TREE.unpack_from(view, start)
    if found_flags != flags or found_pad != pad or depth > _MOST_LEVELS:
        raise _Wrong("a tree of a kind that we do not write")
    if (root == _NONE) != (depth == 0) or (root == _NONE) != (entries == 0):
        raise _Wrong("a tree contradicts itself")
    if root != _NONE and not 2 <= root <= last_page:
        raise _Wrong(f"a tree starts at page {root} of {last_page}")
    return _Tree(depth=depth, entries=entries, root=root)


def _free_keys(key: memoryview, value_bytes: int) -> None:
    """Of the list of free pages: whole numbers to whole numbers."""
    if len(key) != _LONG.size or value_bytes % _LONG.size or not value_bytes:
        raise _Wrong("its list of free pages does not hold")


def _walk(view: memoryview, metas: _Metas, tree: _Tree, *, is_free: bool) -> None:
    """Every page of a tree, once, by levels: kinds, numbers, places and lengths within their bounds."""
    seen: set[int] = set()
    level = [] if tree.root == _NONE else [tree.root]
    entries = 0
    for depth in range(tree.depth):
        is_leaf = depth == tree.depth - 1
        below: list[int] = []
        for page in level:
            if page in seen or not 2 <= page <= metas.last_page:
                raise _Wrong(f"page {page} stands where it cannot")
            seen.add(page)
            found = _page(view, metas, page, seen, is_leaf=is_leaf, is_free=is_free)
            entries += found.entries
            below += found.children
        level = below
    if entries != tree.entries:
        raise _Wrong(f"{entries} records, its header promises {tree.entries}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    entries: int
    children: list[int]


def _page(view: memoryview, metas: _Metas, number: int, seen: set[int], *, is_leaf: bool, is_free: bool) -> _Page:
    start = number * metas.page_bytes
    own, _, flags, lower, upper = _PAGE_HEAD.unpack_from(view, start)
    if own != number or flags & ~_DIRTY != (_LEAF if is_leaf else _BRANCH):
        raise _Wrong(f"page {number} is of another kind or number")
    if not _PAGE_HEAD.size <= lower <= upper <= metas.page_bytes or lower % 2:
        raise _Wrong(f"page {number}: its bounds do not hold")
    count = (lower - _PAGE_HEAD.size) // 2
    if count < (1 if is_leaf else 2):
        raise _Wrong(f"page {number} is empty")
    children: list[int] = []
    for place in struct.unpack_from(f"<{count}H", view, start + _PAGE_HEAD.size):
        if place < upper or place + _NODE.size > metas.page_bytes:
            raise _Wrong(f"page {number}: a record lies outside")
        low, high, node_flags, key_bytes = _NODE.unpack_from(view, start + place)
        key_end = place + _NODE.size + key_bytes
        if key_end > metas.page_bytes:
            raise _Wrong(f"page {number}: a key lies outside")
        if not is_leaf:
            children.append(low | high << 16 | node_flags << 32)
            continue
        size = low | high << 16
        if node_flags & ~_BIG or key_bytes == 0:
            raise _Wrong(f"page {number}: a record of a kind that we do not write")
        if is_free:
            _free_keys(view[start + place + _NODE.size : start + key_end], size)
        if node_flags & _BIG:
            if key_end + _LONG.size > metas.page_bytes:
                raise _Wrong(f"page {number}: a record lies outside")
            _overflow(view, metas, _LONG.unpack_from(view, start + key_end)[0], size, seen)
        elif key_end + size > metas.page_bytes:
            raise _Wrong(f"page {number}: a record lies outside")
    return _Page(entries=count if is_leaf else 0, children=children)


def _overflow(view: memoryview, metas: _Metas, first: int, size: int, seen: set[int]) -> None:
    """A long record: its head page and as many after it as it needs, all within the file, of nobody else."""
    if not 2 <= first <= metas.last_page or first in seen:
        raise _Wrong(f"a long record starts at page {first} of {metas.last_page}")
    own, _, flags, low, high = _PAGE_HEAD.unpack_from(view, first * metas.page_bytes)
    pages = low | high << 16
    if own != first or flags & ~_DIRTY != _OVERFLOW or not pages or first + pages - 1 > metas.last_page:
        raise _Wrong(f"page {first}: a long record's pages do not hold")
    if _PAGE_HEAD.size + size > pages * metas.page_bytes:
        raise _Wrong(f"page {first}: a record is longer than its pages")
    seen.add(first)
