"""Our pages with hostile names: values of any dataclass filled with texts, and a browser that says what ran."""

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from playwright.sync_api import Dialog, Page, Request, sync_playwright

from facestore.ids import JsonValue

_QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
CANARY = "CANARY"
T = TypeVar("T")
_PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACw="  # addresses of pictures are ours, not names
_PLAIN: dict[object, object] = {
    bool: True,
    int: 3,
    float: 0.5,
    datetime: datetime(2026, 1, 2, tzinfo=UTC),
    date: date(2026, 1, 2),
    Path: Path("x"),
    np.ndarray: np.zeros(4, np.float32),
    types.NoneType: None,
    object: None,
}


def filled(kind: type[T], payloads: Sequence[str]) -> T:
    """A value of this type in which every text is one of the payloads, taken in turn; nothing is left out."""
    taken = cycle(payloads)
    return cast(T, _filled(kind, lambda: next(taken)))


def _filled(kind: Any, text: Callable[[], str]) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is str or kind == JsonValue:
        return text()
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return _filled(next(one for one in arguments if one is not types.NoneType), text)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(_filled(one, text) for one in arguments)
    if origin is tuple:
        return (_filled(arguments[0], text), _filled(arguments[0], text))
    if origin in (list, Sequence):
        return [_filled(arguments[0], text)]
    if origin in (dict, Mapping):
        return {_filled(arguments[0], text): _filled(arguments[1], text)}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [one.name for one in fields(kind)]
        return cast(Any, kind)(**{name: _PICTURE if name == "src" else _filled(hints[name], text) for name in names})
    return _PLAIN[origin or kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a page did in a browser: its title, addresses that it asked for, dialogs that it opened."""

    title: str
    asked: tuple[str, ...]
    dialogs: int

    @property
    def has_run(self) -> bool:
        return self.title == CANARY or bool(self.asked) or self.dialogs > 0


@contextmanager
def browser_page(chromium: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_QUIET.split())
        try:
            yield browser.new_page()
        finally:
            browser.close()


def look(page: Page, path: Path) -> Seen:
    """Open a page of ours, which is one file and asks for nothing else."""
    asked: list[str] = []
    dialogs: list[str] = []
    address = path.resolve().as_uri()

    def on_request(request: Request) -> None:
        if request.url != address and not request.url.startswith("data:image/"):
            asked.append(request.url)

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss()

    page.on("request", on_request)
    page.on("dialog", on_dialog)
    try:
        page.goto(address, wait_until="load")
        title = page.title()
    finally:
        page.remove_listener("request", on_request)
        page.remove_listener("dialog", on_dialog)
    return Seen(title=title, asked=tuple(asked), dialogs=len(dialogs))
