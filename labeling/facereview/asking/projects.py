"""Small projects of the labelling tool that fill up, one after another. Each carries our key, for ids may be reused."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from facereview.schema import AttributeSchema
from facereview.screens import label_config
from facereview.server import ReviewServer, ServerProject
from facestore.ids import digest_of, sha256_hex
from facestore.questions import QuestionKind, ReviewProject
from facestore.reviewlog import ReviewLog

Say = Callable[[str], None]

TITLES: dict[QuestionKind, str] = {
    "same_person": "Same person?",
    "odd_ones_out": "Who does not belong?",
    "who_is_this": "Who is this?",
    "attributes": "What holds of this face?",
    "boxes": "Missed or wrong boxes?",
    "landmarks": "Are the points right?",
}
_KEY_HEX = 16
_KEY = re.compile(rf"\[faceloop ([0-9a-f]{{{_KEY_HEX}}})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the tasks of one project share."""

    kind: QuestionKind
    round: int  # from 1
    overlap: int  # answers wanted for each task
    model_version: str  # of what is filled in: the tool fills in one version a project


def project_key(instance: str, group: Group, number: int) -> str:
    """The same for the same place in the row of projects, so that one whose making was cut short is found again."""
    return digest_of([instance, group.kind, group.round, group.overlap, number])[:_KEY_HEX]


def description_of(key: str) -> str:
    return f"Made by Faceloop, which looks for this mark: [faceloop {key}]"


def key_in(description: str) -> str | None:
    """Our key in a project's description, if somebody has not taken it out."""
    found = _KEY.search(description)
    return None if found is None else found.group(1)


def config_sha256(label_config: str) -> str:
    """Of the config without blanks at its ends, which the tool strips."""
    return sha256_hex(label_config.strip().encode())


def title_of(group: Group, number: int, *, is_last_word: bool, now: datetime) -> str:
    """At most 50 characters, as the tool wants it."""
    again = f", round {group.round}" if group.round > 1 and not is_last_word else ""
    before = "To decide: " if is_last_word else ""
    return f"{before}{TITLES[group.kind]} {number}{again} · {now:%Y-%m-%d}"


class Projects:
    """Those of one server, as it and the log know them while a push runs."""

    def __init__(
        self,
        *,
        log: ReviewLog,
        server: ReviewServer,
        schema: AttributeSchema,
        project_tasks: int,
        last_round: int,
        now: datetime,
        say: Say,
        connect: Callable[[int], None],
    ) -> None:
        """`connect(project_id)` lets a project serve the shelf's pictures. It may come twice for the same project.

        Raises what `server.projects` raises.
        """
        self._log, self._server, self._schema = log, server, schema
        self._project_tasks, self._last_round, self._now, self._say = project_tasks, last_round, now, say
        self._connect = connect
        self._there = {project.project_id: project for project in server.projects()}
        self._known = {project.key: project for project in log.projects()}
        self._free: dict[str, int] = {}

    def of(self, key: str) -> ReviewProject:
        return self._known[key]

    def is_ours(self, project: ReviewProject) -> bool:
        """Whether it is this server's."""
        return project.instance == self._server.instance

    def is_there(self, project: ReviewProject) -> bool:
        """Whether the server has it, and not another one under its id."""
        found = self._there.get(project.project_id)
        return self.is_ours(project) and found is not None and key_in(found.description) == project.key

    def is_unchanged(self, project: ReviewProject) -> bool:
        """Whether a project that is there still shows what we gave it to show."""
        return config_sha256(self._there[project.project_id].label_config) == project.config_sha256

    def forget(self, project: ReviewProject) -> None:
        """It is not there, or not what it was: nothing more goes into it."""
        if project.is_open:
            self._write(project, is_open=False, model_version=project.model_version)

    def show_version(self, project: ReviewProject, model_version: str) -> None:
        """Have the tool fill in what this version suggests."""
        if project.model_version != model_version:
            self._server.set_model_version(project.project_id, model_version)
            self._write(self._known[project.key], is_open=self._known[project.key].is_open, model_version=model_version)

    def room(self, group: Group) -> tuple[ReviewProject, int]:
        """A project that takes tasks of the group, and how many; a new one where none does."""
        for project in self._known.values():
            if project.is_open and _group_of(project) == group and self.is_ours(project) and self._takes(project):
                if free := self._free_in(project):
                    return project, free
                self._write(project, is_open=False, model_version=project.model_version)
        begun = self._begin(group)
        return begun, self._free_in(begun)

    def took(self, project: ReviewProject, tasks: int) -> None:
        """Of the room that `room` named."""
        self._free[project.key] -= tasks

    def _takes(self, project: ReviewProject) -> bool:
        title = f"project {project.project_id}"
        if not self.is_there(project):
            self._say(f"{title} is gone from the server, or its id is another's; a new one is begun")
        elif not self.is_unchanged(project):
            self._say(f"the labelling config of {title} was edited; it takes no new questions, a new one is begun")
        elif project.config_sha256 == config_sha256(label_config(project.kind, self._schema)):
            return True
        else:
            self._say(f"{title} has the screen of an older version; a new one is begun")
        self.forget(project)
        return False

    def _free_in(self, project: ReviewProject) -> int:
        if project.key not in self._free:
            taken = self._log.tasks(states={"planned", "pushed"}, project_key=project.key)
            self._free[project.key] = max(0, self._project_tasks - len(taken))
        return self._free[project.key]

    def _begin(self, group: Group) -> ReviewProject:
        number = 1 + sum(_row_of(project) == _row(group) and self.is_ours(project) for project in self._known.values())
        while (key := project_key(self._server.instance, group, number)) in self._known or self._is_used(key):
            number += 1
        config = label_config(group.kind, self._schema)
        found = self._with_key(key)
        if found is None:
            found = self._server.create_project(
                title=title_of(group, number, is_last_word=group.round == self._last_round, now=self._now),
                description=description_of(key),
                label_config=config,
                overlap=group.overlap,
                model_version=group.model_version,
            )
            self._there[found.project_id] = found
        else:
            self._server.set_model_version(found.project_id, group.model_version)
        self._connect(found.project_id)
        begun = ReviewProject(
            key=key,
            instance=self._server.instance,
            project_id=found.project_id,
            kind=group.kind,
            round=group.round,
            overlap=group.overlap,
            config_sha256=config_sha256(config),
            model_version=group.model_version,
            created_at=found.created_at,
            is_open=True,
        )
        self._log.add_project(begun)
        self._known[key] = begun
        return begun

    def _with_key(self, key: str) -> ServerProject | None:
        """The oldest with our key: its making was cut short before we wrote it down."""
        return min(
            (project for project in self._there.values() if key_in(project.description) == key),
            key=lambda project: project.project_id,
            default=None,
        )

    def _is_used(self, key: str) -> bool:
        """Whether a project that the log does not know has tasks, so is not one whose making was cut short."""
        found = self._with_key(key)
        return found is not None and _has_any(self._server.tasks(found.project_id))

    def _write(self, project: ReviewProject, *, is_open: bool, model_version: str) -> None:
        self._log.change_project(project.key, is_open=is_open, model_version=model_version)
        self._known = {known.key: known for known in self._log.projects()}


def _has_any(items: Iterable[object]) -> bool:
    return any(True for _ in items)


def _group_of(project: ReviewProject) -> Group:
    return Group(kind=project.kind, round=project.round, overlap=project.overlap, model_version=project.model_version)


def _row(group: Group) -> tuple[QuestionKind, int, int]:
    return group.kind, group.round, group.overlap


def _row_of(project: ReviewProject) -> tuple[QuestionKind, int, int]:
    return _row(_group_of(project))
