"""A picture that an annotator draws on: places in percent of the picture, moved by mouse."""

from dataclasses import dataclass

from playwright.sync_api import Page

Place = tuple[float, float]  # x, y, percent of the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The one picture with regions on the screen."""

    page: Page

    def click(self, place: Place) -> None:
        self.page.mouse.click(*self._at(place))

    def drag(self, start: Place, end: Place) -> None:
        """Press at `start`, go to `end` in steps as a hand does, let go."""
        self.page.mouse.move(*self._at(start))
        self.page.mouse.down()
        self.page.mouse.move(*self._at(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)), steps=4)
        self.page.mouse.move(*self._at(end), steps=4)
        self.page.mouse.up()

    def size_px(self) -> tuple[float, float]:
        """Width and height on the screen."""
        _, _, width, height = self._rectangle()
        return width, height

    def bottom_px(self) -> float:
        _, top, _, height = self._rectangle()
        return top + height

    def _at(self, place: Place) -> tuple[float, float]:
        left, top, width, height = self._rectangle()
        return left + place[0] * width / 100, top + place[1] * height / 100

    def _rectangle(self) -> tuple[float, float, float, float]:
        found = self.page.locator(".lsf-main-view img").first.bounding_box()
        assert found is not None, "no picture is on the screen"
        return found["x"], found["y"], found["width"], found["height"]
