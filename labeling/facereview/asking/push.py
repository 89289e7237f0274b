"""push: questions become tasks of the labelling tool, each once, however often this runs and wherever it was killed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from facereview.asking.arrange import as_asked
from facereview.asking.choice import choose
from facereview.asking.making import Maker
from facereview.asking.projects import Projects, Say
from facereview.asking.rounds import Asking, again, answers_by_task, further, last_askings
from facereview.asking.survey import Survey, survey
from facereview.asking.withdraw import sweep_shelf
from facereview.pictures import Pictures, Shelf
from facereview.schema import AttributeSchema
from facereview.server import ReviewServer
from facestore.errors import ConfigError, DataError
from facestore.questions import Question, ReviewTask, Settlement
from facestore.reviewlog import ReviewLog


@dataclass(frozen=True, slots=True, kw_only=True)
class PushParams:
    """Raises ConfigError for a value outside its range."""

    project_tasks: int  # in one project, >= 1
    backlog: int  # open tasks at most, >= 0; the rest of the plan waits
    max_rounds: int  # askings of a question that does not settle, >= 1; then somebody decides

    def __post_init__(self) -> None:
        if self.project_tasks < 1 or self.backlog < 0 or self.max_rounds < 1:
            raise ConfigError("project_tasks and max_rounds are at least 1, backlog at least 0; correct the params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Counts. Of the given questions: given = new + known + twins + waiting + refused."""

    given: int
    new: int  # asked for the first time, or again after they were withdrawn
    known: int  # asked before, answered or not
    twins: int  # another one that is open asks the same
    waiting: int  # for room in the backlog
    refused: Mapping[str, int]  # by reason code
    finished: int  # tasks that an earlier push had planned and not made
    adopted: int  # tasks that an earlier push had made and not written down
    lost: int  # tasks that the server has no more
    again: int  # asked again after a loss
    further: int  # asked of another annotator, or of who decides
    refreshed: int  # tasks whose suggestion was replaced by a newer run's
    doubles: int  # tasks made twice by a cut connection, taken away again
    open: int  # tasks that wait for people now


def push(
    questions: Iterable[Question],
    *,
    log: ReviewLog,
    server: ReviewServer,
    shelf: Shelf,
    pictures: Pictures,
    schema: AttributeSchema,
    params: PushParams,
    now: datetime,
    say: Say,
    group_of_face: Mapping[str, str],
    connect: Callable[[int], None],
) -> Pushed:
    """Ask what the plan says, by rank, after what is owed: lost tasks and further rounds. A second push waits for the
    first; what one that failed or was killed has left, the next completes.

    `group_of_face`: questions about the same two groups (clusters, say) are asked once; a face may be in none.
    `connect(project_id)` lets a new project serve the shelf's pictures; it may come twice for one project.
    Raises StoreError and what the server raises.
    """
    given = {question.question_id: question for question in sorted(questions, key=_by_rank)}
    with log.alone("push"):
        log.offer(list(given.values()), at=now)
        projects = Projects(
            log=log,
            server=server,
            schema=schema,
            project_tasks=params.project_tasks,
            last_round=params.max_rounds + 1,
            now=now,
            say=say,
            connect=connect,
        )
        maker = Maker(log=log, server=server, projects=projects, shelf=shelf, pictures=pictures, schema=schema, now=now)
        found = survey(log, server, projects, now=now, say=say)
        finished = maker.finish(found.interrupted)
        doubles = found.doubles
        if cut := frozenset(task.project_key for task in found.interrupted):
            # the server may still have been making the ones that we missed
            doubles += survey(log, server, projects, now=now, say=say, only=cut).doubles
        refreshed = _refresh(given, log, maker, found)
        maker.show_versions()
        owed = (again(log), further(log, max_rounds=params.max_rounds))
        choice = choose(given.values(), log, group_of_face)
        room = max(0, params.backlog - len(_open(log, found)))
        _reopen(log, choice.withdrawn[:room], now)
        made = maker.make([*owed[0], *owed[1], *choice.askings], room=room)
        sweep_shelf(log, shelf)
        new = {asking.question.question_id for asking in choice.askings}
        refused = Counter(reason for question_id, reason in made.refused.items() if question_id in new)
        fresh = len(new & set(made.question_ids))
        return Pushed(
            given=len(given),
            new=fresh,
            known=choice.known,
            twins=choice.twins,
            waiting=len(new) - fresh - refused.total(),
            refused=dict(refused),  # asdict of Python 3.11 makes keys of a Counter into pairs
            finished=len(finished.question_ids),
            adopted=found.adopted,
            lost=found.lost,
            again=_count(owed[0], made.question_ids),
            further=_count(owed[1], made.question_ids),
            refreshed=refreshed,
            doubles=doubles,
            open=len(_open(log, found)),
        )


def _refresh(given: Mapping[str, Question], log: ReviewLog, maker: Maker, found: Survey) -> int:
    """Tasks of given questions that show another run's suggestion, and that nobody has touched."""
    stale = [
        task
        for task in last_askings(log.waiting())
        if task.state == "pushed"
        and task.question_id in given
        and task.model_version != given[task.question_id].model_version
        and _place(task) in found.answers
        and _place(task) not in found.touched
    ]
    asked = {question.question_id: question for question in log.questions([task.question_id for task in stale])}
    suggested = {}
    for question_id, question in asked.items():
        with suppress(DataError):  # it stays as it is
            suggested[question_id] = as_asked(given[question_id], question)
    return maker.refresh([task for task in stale if task.question_id in suggested], suggested)


def _open(log: ReviewLog, found: Survey) -> list[ReviewTask]:
    """Tasks that wait for an answer, as far as is known: pulled, or seen on the server."""
    projects = {project.key: project for project in log.projects()}
    last = [task for task in last_askings(log.waiting()) if task.state in ("planned", "pushed")]
    pulled = answers_by_task(log.annotations(question_ids=[task.question_id for task in last]))
    answers = {place: max(pulled[place], found.answers.get(place, 0)) for place in map(_place, last)}
    return [task for task in last if answers[_place(task)] < projects[task.project_key].overlap]


def _place(task: ReviewTask) -> tuple[str, int]:
    return task.project_key, task.task_id or 0


def _reopen(log: ReviewLog, question_ids: Sequence[str], now: datetime) -> None:
    again_open = [
        Settlement(question_id=question_id, state="open", decision_ids=(), changed_at=now)
        for question_id in question_ids
    ]
    if again_open:
        log.record([], again_open, [])


def _count(askings: Iterable[Asking], question_ids: Iterable[str]) -> int:
    return len({asking.question.question_id for asking in askings} & set(question_ids))


def _by_rank(question: Question) -> tuple[int, str]:
    return question.rank, question.question_id
