"""What the labelling server holds of a person: tasks, uploads, pictures of questions, and the pages of its database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceloop.erasure.needles import search
from faceloop.erasure.planning import Plan
from faceloop.review.access import server_address, shelf_of, with_review_log
from faceloop.runner import Workspace
from facereview.kinds import shown_faces, subject_of
from facereview.labelstudio.uploads import UploadingServer
from facereview.pictures import Shelf
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.reviewlog import ReviewLog
from facestore.rowpurge import vacuum_file

DATABASE = "label_studio.sqlite3"
_NOT_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", "server.log", "credentials.json")
DeleteTask = Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """A labelling server as an erasure needs it. `delete_task`: gives the number of uploads that went with a task."""

    delete_task: DeleteTask
    shelf: Shelf | None = None  # where pictures of questions are laid out for it
    folder: Path | None = None  # with its database and media, where the server is ours


@contextmanager
def open_labelling(work: Workspace, folder: Path | None, environ: Mapping[str, str]) -> Iterator[Labelling]:
    """The server that the environment names, or that runs in the folder. Raises ConfigError, ServerError."""
    address = server_address(folder or Path(), environ)
    server = UploadingServer(address.url, address.token)
    try:
        yield Labelling(
            delete_task=server.delete_task_and_uploads,
            shelf=shelf_of(work, address),
            folder=folder if folder is not None and folder.is_dir() else None,
        )
    finally:
        server.close()


def clear_labelling(work: Workspace, plan: Plan, labelling: Labelling | None) -> JsonValue:
    """Tasks with annotations, predictions, drafts and uploads by the server's API; then pictures, media, free pages.

    May be cut off anywhere and done again. Raises ServerError, StoreError.
    """
    if labelling is None:
        if not plan.tasks:
            return {"tasks": 0}
        named = ", ".join(f"{task_id} of project {project}" for project, task_id in sorted(plan.tasks))
        do = f"no labelling server was named; delete there these tasks, and pictures uploaded with them: {named}"
        return {"tasks": 0, "left": len(plan.tasks), "then": do}
    uploads = sum(labelling.delete_task(task_id) for _, task_id in plan.tasks)
    then: list[str] = []
    questions = with_review_log(work, lambda log: _questions(log, plan))
    if labelling.shelf is not None:
        for question_id in questions:
            labelling.shelf.remove(question_id)
    elif questions:
        then.append(f"pictures of {len(questions)} questions, where they were laid out for the labelling server")
    files = 0
    if labelling.folder is not None:
        files = _clear_folder(labelling.folder, plan)
    elif uploads:
        then.append(f"{uploads} uploaded files in the media folder of the labelling server")
    then += _compact(labelling.folder) if plan.tasks or uploads or files else []
    return {
        "tasks": len(plan.tasks),
        "projects": len({project for project, _ in plan.tasks}),
        "uploads": uploads,
        "questions": len(questions),
        "files": files,
        **({"then": "; ".join(then)} if then else {}),
    }


def _questions(log: ReviewLog, plan: Plan) -> list[str]:
    found = []
    faces = set(plan.face_ids)
    for question in log.questions():
        try:
            if faces & set(shown_faces(subject_of(question))):
                found.append(question.question_id)
        except DataError:
            continue
    return sorted(found)


def _clear_folder(folder: Path, plan: Plan) -> int:
    """Uploads, exports and pictures that hold something of the person: Label Studio leaves them when a task goes."""
    kept = [folder / name for name in _NOT_FILES]
    held = search([folder], plan.search_for(), but_for=kept).held
    for name in held:
        Path(name).unlink(missing_ok=True)
    return len(held)


def _compact(folder: Path | None) -> list[str]:
    """Label Studio neither overwrites rows that it deletes nor shortens its file; running, it lets others do that."""
    if folder is not None and (folder / DATABASE).is_file():
        said = vacuum_file(folder / DATABASE)
        return [f"labelling server: {said}"] if said else []
    return ["free pages of the labelling server's own database: VACUUM there (PostgreSQL: VACUUM FULL), then search it"]
