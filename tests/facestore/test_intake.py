"""The intake gives back what was found, of the same file only, and never of one that may still change."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore.findings import Finding, NoFindings, Refused, Taken, listing_digest, location_now
from facestore.ids import digest_of
from facestore.intake import RACY_NS, Intake, KnownFindings, known_findings
from facestore.sources import Location, Source, open_source

from .emptying import emptied

NOW_NS = 1_800_000_000_000_000_000
REFUSED = Refused(reason="not_media", detail="these are notes")


def _taken(footage_id: str = "f" * 64, **changes: Any) -> Taken:
    facts: dict[str, Any] = {
        "kind": "video",
        "width": 1920,
        "height": 1080,
        "rotation": 90,
        "fps": 29.97002997002997,
        "duration_s": 0.1 + 0.2,
        "frames": 12,
        "codec": "h264",
        "captured_at": datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC),
        "flags": ("rotated", "low_frame_rate"),
    }
    return Taken(footage_id=footage_id, **facts | changes)


def _at(path: str = "cam 1/a.mp4", size: int = 10, age_ns: int = 10 * RACY_NS) -> Location:
    return Location(path=path, size_bytes=size, version=str(NOW_NS - age_ns))


def _over(intake: Intake, **changes: Any) -> KnownFindings:
    place: dict[str, Any] = {"source": "/inbox", "objects": "/store", "is_trusted": True, "as_of_ns": NOW_NS}
    return KnownFindings(intake=intake, **place | changes)


def _ask(intake: Intake, *locations: Location, basis: str = "b", **changes: Any) -> list[Finding | None]:
    return list(_over(intake, **changes).recall(locations, basis))


def _tell(intake: Intake, location: Location, finding: Finding) -> None:
    findings = _over(intake)
    findings.remember(location, "b", finding)
    findings.flush()


@pytest.fixture
def intake(url: str) -> Iterator[Intake]:
    opened = Intake(url)
    emptied(url, "finding")
    yield opened
    opened.close()


def test_findings_come_back_whole_and_in_the_order_of_the_locations(intake: Intake) -> None:
    locations = [_at(f"{number}.mp4") for number in range(4_200)]  # more than are asked for at once
    findings = _over(intake)
    for number, location in enumerate(locations):
        if number % 3:
            finding = _taken(f"{number:064x}") if number % 2 else Refused(reason="not_media", detail=str(number))
            findings.remember(location, "b", finding)
    findings.flush()
    answers = _ask(intake, *reversed(locations))[::-1]
    assert [answer is None for answer in answers] == [number % 3 == 0 for number in range(4_200)]
    assert answers[1] == _taken(f"{1:064x}")
    assert answers[4_199] == _taken(f"{4_199:064x}")
    assert answers[4] == Refused(reason="not_media", detail="4")


@pytest.mark.parametrize(
    "other",
    [
        {"location": _at(size=11)},
        {"location": _at(age_ns=9 * RACY_NS)},
        {"location": _at(path="cam 1/b.mp4")},
        {"basis": "another spec"},
        {"source": "/other inbox"},
        {"objects": "/other store"},
        {"is_trusted": False},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_was_found_holds_for_the_same_file_source_store_and_spec_only(
    intake: Intake, other: dict[str, Any]
) -> None:
    _tell(intake, _at(), _taken())
    assert _ask(intake, _at()) == [_taken()]
    asked = {"location": _at(), **other}
    assert _ask(intake, asked.pop("location"), **asked) == [None]


def test_a_file_that_changed_a_moment_ago_or_later_is_not_remembered(intake: Intake) -> None:
    for age_ns in (RACY_NS - 1, 0, -RACY_NS):
        _tell(intake, _at(age_ns=age_ns), REFUSED)
        assert _ask(intake, _at(age_ns=age_ns)) == [None]
    _tell(intake, _at(age_ns=RACY_NS), REFUSED)
    assert _ask(intake, _at(age_ns=RACY_NS)) == [REFUSED]


def test_an_etag_is_remembered_at_once(intake: Intake) -> None:
    at = Location(path="a", size_bytes=1, version="9b2cf535f27731c974343645a3985328-3")
    findings = _over(intake, source="s3://inbox")
    findings.remember(at, "b", REFUSED)
    findings.flush()
    assert _ask(intake, at, source="s3://inbox") == [REFUSED]


def test_the_last_word_on_a_place_stands(intake: Intake) -> None:
    _tell(intake, _at(), REFUSED)
    _tell(intake, _at(size=11), _taken())
    assert _ask(intake, _at(size=11)) == [_taken()]
    assert _ask(intake, _at()) == [None]


def test_forgotten_footage_is_looked_at_anew(intake: Intake) -> None:
    _tell(intake, _at("a"), _taken("a" * 64))
    _tell(intake, _at("b"), _taken("b" * 64))
    _tell(intake, _at("c"), REFUSED)
    intake.forget(["a" * 64])
    assert _ask(intake, _at("a"), _at("b"), _at("c")) == [None, _taken("b" * 64), REFUSED]


@settings(max_examples=25)
@given(
    detail=st.text(max_size=200),
    fps=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    captured_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_any_message_of_a_decoder_and_any_number_come_back_exactly(
    detail: str, fps: float | None, captured_at: datetime | None
) -> None:
    intake = Intake("sqlite://")
    try:
        odd = _taken(fps=fps, captured_at=captured_at)
        _tell(intake, _at("a"), odd)
        _tell(intake, _at("b"), Refused(reason="corrupt_media", detail=detail + "\0\udcff"))
        assert _ask(intake, _at("a"), _at("b")) == [odd, Refused(reason="corrupt_media", detail=detail + "\0\udcff")]
    finally:
        intake.close()


def test_a_message_with_a_nul_is_kept_by_every_database(intake: Intake) -> None:
    odd = Refused(reason="corrupt_media", detail="bad \0 chunk \udcff")
    _tell(intake, _at(), odd)
    assert _ask(intake, _at()) == [odd]


def test_what_was_found_before_an_error_is_kept(url: str) -> None:
    Intake(url).close()
    emptied(url, "finding")
    with (
        pytest.raises(KeyboardInterrupt),
        known_findings(url, source="/inbox", objects="/store", as_of_ns=NOW_NS) as findings,
    ):
        findings.remember(_at(), "b", REFUSED)
        raise KeyboardInterrupt
    with known_findings(url, source="/inbox", objects="/store", as_of_ns=NOW_NS) as findings:
        assert list(findings.recall([_at()], "b")) == [REFUSED]


def test_a_large_file_is_written_down_at_once(intake: Intake) -> None:
    findings = _over(intake)
    findings.remember(_at("small"), "b", REFUSED)
    assert _ask(intake, _at("small")) == [None]
    findings.remember(_at("large", size=100 << 20), "b", _taken())
    assert _ask(intake, _at("small"), _at("large", size=100 << 20)) == [REFUSED, _taken()]


def test_no_name_of_a_file_reaches_the_database(tmp_path: Path) -> None:
    intake = Intake(f"sqlite:///{tmp_path / 'catalogue'}")
    _tell(intake, _at("Erika Mustermann/birthday.mp4"), _taken())
    intake.close()
    with sqlite3.connect(tmp_path / "catalogue") as database:
        rows = "\n".join(database.iterdump())
    database.close()
    assert "f" * 64 in rows
    assert "Mustermann" not in rows
    assert "birthday" not in rows


def test_nothing_known_is_an_answer_for_each() -> None:
    nothing = NoFindings()
    nothing.remember(_at(), "b", REFUSED)
    assert list(nothing.recall([_at(), _at("b")], "b")) == [None, None]


@given(st.lists(st.builds(Location, path=st.text(), size_bytes=st.integers(0), version=st.text()), max_size=5))
def test_a_listing_has_the_digest_of_its_rows(listing: list[Location]) -> None:
    rows = [[at.path, at.size_bytes, at.version] for at in listing]
    try:
        expected = digest_of(rows)  # type: ignore[arg-type]
    except UnicodeEncodeError:
        return  # no source gives such a path
    assert listing_digest(iter(listing)) == expected


def _look_closely(source: Source, change: Any, remove: Any) -> None:
    listed = list(source.locations())
    assert [location_now(source, at) for at in listed] == listed
    change()
    assert location_now(source, listed[0]) != listed[0]
    remove()
    assert location_now(source, listed[0]) is None
    assert location_now(source, listed[1]) == listed[1]


def test_a_file_of_a_folder_is_seen_to_change_and_to_go(tmp_path: Path) -> None:
    file = tmp_path / "a \udcff.mp4"
    file.write_bytes(b"one")
    (tmp_path / f"{file.name}.old").write_bytes(b"other")
    _look_closely(open_source(str(tmp_path)), lambda: file.write_bytes(b"longer"), file.unlink)


@pytest.mark.integration
def test_an_object_of_a_bucket_is_seen_to_change_and_to_go(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from facestore.s3 import S3Bucket

    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    bucket, _ = S3Bucket.from_url("s3://intake-test")
    bucket.client.create_bucket(Bucket=bucket.name)
    try:
        for key, payload in (("in/a.mp4", b"one"), ("in/a.mp4.old", b"other")):
            bucket.put_bytes(key, payload, content_type="video/mp4")
        source = open_source("s3://intake-test/in")
        _look_closely(
            source,
            lambda: bucket.put_bytes("in/a.mp4", b"two", content_type="video/mp4"),
            lambda: bucket.remove(["in/a.mp4"]),
        )
    finally:
        bucket.client.close()
