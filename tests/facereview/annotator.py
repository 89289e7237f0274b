"""An annotator in headless Chromium: logs in, opens a project's labelling stream, clicks, presses keys, submits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, Response, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

WIDTH, HEIGHT = 1366, 768  # px: a small laptop
_QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
_TASK = "document.querySelector('.lsf-current-task__task-id')?.firstChild?.textContent"
_DONE = "document.body.innerText.includes('No More Tasks Left')"
_FREE = "document.querySelector('[data-testid=bottombar-submit-button]')?.disabled === false"
_PATIENCE_MS = 5_000.0  # without an answer somebody tries again
_TRIES = 6
_PICTURES = "Array.from(document.querySelectorAll('.lsf-main-view img'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotator:
    """One person at the screen. An `area` is a class of the labelling config without its `fl-`: `answers`, `cells`."""

    page: Page
    url: str  # of the server

    def login(self, email: str, password: str) -> None:
        self.page.goto(f"{self.url}/user/login/")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda address: "/user/login" not in address)

    def open(self, project_id: int) -> None:
        """The labelling stream: the next task that this annotator has not answered."""
        self.page.goto(f"{self.url}/projects/{project_id}/data?labeling=1")
        self.ready()

    def ready(self, *, after: str | None = None) -> None:
        """Wait until a task (another than `after`) is on the screen with all of its pictures, or none is left.

        The screen shows the next task a moment before it takes its answer: until the last one is away for good, keys
        to submit are dropped and the button is grey.
        """
        self.page.wait_for_function(
            f"after => {_DONE} || (({_TASK} ?? after) !== after && document.querySelector('.lsf-main-view__annotation')"
            f" && {_FREE} && {_PICTURES}.length > 0 && {_PICTURES}.every(one => one.complete && one.naturalWidth > 0))",
            arg=after,
        )

    def task_id(self) -> str | None:
        shown: str | None = self.page.evaluate(_TASK)
        return shown

    def press(self, *keys: str) -> None:
        """Hotkeys, as the screen shows them: "1", "Shift+q"."""
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, area: str, place: int) -> None:
        """Click in the middle of a choice, by its place from 0. A tick that is there already stays."""
        choice = self.page.locator(f".fl-{area} .lsf-choice__item label").nth(place)
        choice.scroll_into_view_if_needed()
        box = choice.bounding_box()
        assert box is not None, f"choice {place} of {area} is not on the screen"
        self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def ticked(self, area: str) -> list[int]:
        """Places of the choices that are ticked, those filled in beforehand among them."""
        boxes = self.page.locator(f".fl-{area} .lsf-choice__item input")
        return [place for place in range(boxes.count()) if boxes.nth(place).is_checked()]

    def submit(self, *, by_key: bool = False) -> float:
        """Submit, wait for the next task or the end. Returns the seconds until it was ready, pictures and all."""
        if by_key:
            return self._leave(lambda: self.page.keyboard.press("Control+Enter"))
        return self._leave(self.page.get_by_test_id("bottombar-submit-button").click)

    def skip(self) -> float:
        return self._leave(self.page.get_by_test_id("bottombar-skip-button").click)

    def is_done(self) -> bool:
        """No task is left in this stream."""
        done: bool = self.page.evaluate(_DONE)
        return done

    def lowest_px(self) -> float:
        """Bottom of the lowest picture or choice that is shown: above the fold while it is less than `fold_px`."""
        found: float = self.page.evaluate(
            "Math.max(...Array.from(document.querySelectorAll('.lsf-main-view img, .lsf-choice__item'))"
            ".map(one => one.getBoundingClientRect().bottom))"
        )
        return found

    def fold_px(self) -> float:
        """Top of the bar with the buttons."""
        found: float = self.page.evaluate("document.querySelector('.lsf-bottombar').getBoundingClientRect().top")
        return found

    def _leave(self, act: Callable[[], None]) -> float:
        left = self.task_id()
        begun = time.perf_counter()
        for chance in range(_TRIES):
            try:
                with self.page.expect_response(_makes_annotation, timeout=_PATIENCE_MS):
                    act()
                break
            except TooLate:
                if self.task_id() != left:  # gone all the same
                    break
                if chance == _TRIES - 1:
                    raise
        self.ready(after=left)
        return time.perf_counter() - begun


@contextmanager
def annotator(chromium: Path, url: str, email: str, password: str) -> Iterator[Annotator]:
    """Somebody who has logged in, in a browser of his own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_QUIET.split())
        try:
            person = Annotator(page=browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}), url=url)
            person.login(email, password)
            yield person
        finally:
            browser.close()


def _makes_annotation(response: Response) -> bool:
    return response.request.method == "POST" and "/annotations" in response.url and response.status == 201
