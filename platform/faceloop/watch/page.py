"""Writes a run's report: `index.html` for people, `report.json` for programs, into the run's folder of the root."""

from dataclasses import asdict
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from faceloop.watch.metrics import HELP
from faceloop.watch.runs import FOLDER, Change, RunReport, folder_of
from facestore.ids import JsonValue, canonical_json
from facestore.publish import write_whole

PAGE, VALUES = "index.html", "report.json"


def write_report(root: Path, report: RunReport) -> Path:
    """The page's path. A report that is there is replaced, file by file; each is whole at any time."""
    folder = root / FOLDER / folder_of(report.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: str(value) if name == "started_at" else value for name, value in asdict(report).items()}
    fields["tasks"] = [{**asdict(task), "started_at": task.started_at.isoformat()} for task in report.tasks]
    fields["started_at"] = report.started_at.isoformat()
    write_whole(folder / VALUES, canonical_json(_plain(fields)) + "\n")
    write_whole(folder / PAGE, render(report))
    return folder / PAGE


def render(report: RunReport) -> str:
    """The page as one HTML document that needs nothing else. Every value is escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("faceloop", "watch"), PackageLoader("faceloop", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count_words=count_words, number=number, meaning=meaning)
    return environment.get_template("run.html.j2").render(run=report)


def count_words(counts: JsonValue) -> list[tuple[str, str]]:
    """Counts as (what, how many), those of a group after its name: (rejected: extreme_pose, 8)."""
    found: list[tuple[str, str]] = []
    for name, value in counts.items() if isinstance(counts, dict) else ():
        if isinstance(value, dict):
            found += [(f"{name}: {key}", number(inner)) for key, inner in value.items()]
        else:
            found.append((name, number(value)))
    return found


def number(value: JsonValue) -> str:
    """As people read it: 12,345, 0.25, yes."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float() if not value.is_integer():
            return f"{value:.4g}"
        case int() | float():
            return f"{int(value):,}"
        case _:
            return str(value)


def meaning(change: Change) -> str:
    """What a figure tells."""
    return HELP.get(change.name, "")


def _plain(value: object) -> JsonValue:
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"no JSON for {type(value)}")
