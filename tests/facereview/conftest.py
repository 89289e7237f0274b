"""The real server through our adapter, and somebody at a screen of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer

from .annotator import Annotator, annotator


@pytest.fixture(scope="module")
def server(label_studio: RunningServer) -> Iterator[LabelStudioServer]:
    adapter = LabelStudioServer(label_studio.url, label_studio.token)
    yield adapter
    adapter.close()


@pytest.fixture(scope="module")
def person(label_studio: RunningServer, chromium: Path) -> Iterator[Annotator]:
    with annotator(chromium, label_studio.url, label_studio.email, label_studio.password) as somebody:
        yield somebody
