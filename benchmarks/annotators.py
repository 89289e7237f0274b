"""Quality against human minutes, through the real Label Studio: our choice of questions, margin, random.

    python -m benchmarks.annotators ROOT --truth folders [--truth-except FILE] [--minutes N] [--seeds N] [--out FOLDER]

ROOT is published up to identify, over photos whose folders name people (`--truth`). Each run works on a copy of its
tables, with a new review log and the same server: `select` plans half a minute of questions, `review push` makes tasks,
three simulated annotators who know the truth answer through Label Studio's API with 3 % errors, `review pull` takes the
answers in and labels anew. Minutes are those of `select.seconds`; only questions about who is who are asked. Scores are
pairwise F over the faces whose person is known; an unknown face counts as a group of its own. All strategies have the
same kinds of questions and the same rule by which answers settle; only the order differs.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np

from faceloop.clustering.metrics import score_partition
from faceloop.decision_tables import export_decisions
from faceloop.params import default_params_path, read_params
from faceloop.progress import SilentProgress
from faceloop.questions.curve import CurvePoint, average_curve
from faceloop.questions.oracle import Progress, questions_to_reach
from faceloop.reports.material import read_boxes
from faceloop.reports.plots import save_curves
from faceloop.reports.truth import FOLDERS, TruthSpec, know
from faceloop.review.access import ServerAddress, showing
from faceloop.review.answering import take_answers
from faceloop.review.asking import ask_people
from faceloop.runner import Workspace, open_workspace, run_stage
from facereview.kinds import (
    Answer,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
    subject_of,
)
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.annotator import Annotator, new_annotator
from facereview.labelstudio.local import RunningServer, start_server, stop_server
from facereview.labelstudio.tokens import log_in
from facereview.screens.choices import chosen
from facestore.ids import JsonValue
from facestore.questions import CLOSED, Question
from facestore.records import Assignment, Footage, Reading, Rejection
from facestore.reviewlog import ReviewLog
from facestore.tables import read_table

STRATEGIES = ("expected_gain", "margin", "random")
ANNOTATORS = 3
ERROR_RATE = 0.03
TARGETS = (0.985, 0.99, 0.995)
TABLES = ("footage", "faces", "embeddings", "decisions", "clusters", "assignments")
WHO_IS_WHO = ("confirmations", "attributes", "boxes", "landmarks", "honeypots")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A simulated annotator: knows who everybody is, and errs."""

    name: str
    desk: Annotator
    random: Random

    def answer(self, subject: Subject, who: Mapping[str, str]) -> Answer:
        is_slip = self.random.random() < ERROR_RATE
        match subject:
            case SamePerson():
                is_same = who.get(subject.left.face_ids[0], "?") == who.get(subject.right.face_ids[0], "??")
                return SamePersonAnswer(verdict="same" if is_same != is_slip else "different")
            case OddOnesOut():
                right = who.get(subject.reference.face_ids[0])
                strangers = {member.face_id for member in subject.members if who.get(member.face_id) != right}
                if is_slip:
                    strangers ^= {self.random.choice(subject.members).face_id}
                return OddOnesOutAnswer(
                    verdict="sorted",
                    strangers=tuple(m.face_id for m in subject.members if m.face_id in strangers),
                )
            case WhoIsThis():
                person = who.get(subject.probe.face_ids[0], "?")
                places: list[int | None] = [None, *range(len(subject.candidates))]
                right_place = next(
                    (p for p, one in enumerate(subject.candidates) if who.get(one.strip.face_ids[0]) == person), None
                )
                place = self.random.choice([p for p in places if p != right_place]) if is_slip else right_place
                if place is None:
                    return WhoIsThisAnswer(verdict="someone_new")
                return WhoIsThisAnswer(verdict="candidate", candidate=place)
        raise AssertionError(f"{type(subject).__name__} is not about who is who")


def as_result(subject: Subject, answer: Answer) -> list[JsonValue]:
    """What Label Studio keeps when somebody gives this answer on the screen."""
    match subject, answer:
        case SamePerson(), SamePersonAnswer():
            return [chosen("verdict", "why", [answer.verdict])]
        case OddOnesOut(), OddOnesOutAnswer():
            places = [str(n) for n, member in enumerate(subject.members, start=1) if member.face_id in answer.strangers]
            return [chosen("strangers", "why", places)] if places else []
        case WhoIsThis(), WhoIsThisAnswer():
            picked = "someone_new" if answer.candidate is None else str(answer.candidate + 1)
            return [chosen("verdict", "why", [picked])]
    raise AssertionError(f"{type(subject).__name__} is not about who is who")


def hire(server: RunningServer, name: str, seed: int) -> Person:
    """Somebody with an account on the server."""
    admin = log_in(server.url, server.email, server.password)
    desk = new_annotator(admin, f"{name}@faceloop.example", f"password of {name}")
    return Person(name=name, desk=desk, random=Random(seed))


def workspace_of(root: Path, source: Path, overrides: Sequence[str]) -> Workspace:
    fixed = [f"paths.{name}={json.dumps(str((source / name).resolve()))}" for name in ("crops", "objects")]
    fixed += [f"select.shares.{share}=0.0" for share in WHO_IS_WHO]
    tree = read_params(default_params_path(), [*fixed, *overrides])
    return open_workspace(root, tree, threads=2, progress=SilentProgress())


def score(work: Workspace, who: Mapping[str, str], questions: int, minutes: float, wrong: int) -> Progress:
    rows = [row for row in read_table(work.path("assignments"), "assignments", Assignment) if row.face_id in who]
    number: dict[str, int] = {}
    labels = np.array([number.setdefault(row.identity_id or row.face_id, len(number)) for row in rows])
    _, truth = np.unique([who[row.face_id] for row in rows], return_inverse=True)
    found = score_partition(labels, truth)
    return Progress(
        questions=questions,
        minutes=minutes,
        pairwise_precision=found.pairwise_precision,
        pairwise_recall=found.pairwise_recall,
        pairwise_f=found.pairwise_f,
        bcubed_f=found.bcubed_f,
        clusters=found.n_clusters,
        wrong_answers=wrong,
        wrong_constraints=0,
    )


def known_people(root: Path, spec: TruthSpec) -> Mapping[str, str]:
    faces = root / "faces"
    return know(
        spec,
        list(read_table(root / "footage", "footage", Footage)),
        read_boxes(faces),
        {reading.footage_id: reading for reading in read_table(faces, "readings", Reading)},
        list(read_table(root / "footage", "rejections", Rejection)),
    ).person_of_face


def one_run(
    root: Path,
    strategy: str,
    seed: int,
    *,
    minutes_at_most: float,
    step_min: float,
    who: Mapping[str, str],
    server: RunningServer,
    people: Sequence[Person],
    sets: Sequence[str],
) -> list[Progress]:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "root"
        for table in TABLES:
            shutil.copytree(root / table, copy / table, copy_function=shutil.copyfile)
        overrides = [f"select.strategy={strategy}", f"select.budget_minutes={step_min}", f"select.seed={seed}"]
        work = workspace_of(copy, root, [*overrides, "review.max_rounds=5", *sets])
        export_decisions(work)
        for stage in ("cluster", "identify"):
            run_stage(work, stage)
        log = ReviewLog(work.ledger_url())
        there = LabelStudioServer(server.url, server.token)
        address = ServerAddress(url=server.url, token=server.token, files=Path(server.files))
        shown = showing(work, there, address, {})
        history = [score(work, who, 0, 0.0, 0)]
        minutes, asked, wrong = 0.0, 0, 0
        while minutes < minutes_at_most:
            run_stage(work, "select")
            ask_people(work, log, there, shown, now=datetime.now(UTC))
            done = _answer_all(log, there, people, who)
            if not done:
                break
            minutes += sum(question.seconds for question, _ in done) / 60
            asked += len(done)
            wrong += sum(not is_right for _, is_right in done)
            take_answers(
                work, log, there, shown, full=True, only_hinted=False, is_applied=True, now=lambda: datetime.now(UTC)
            )
            history.append(score(work, who, asked, minutes, wrong))
            print(f"{strategy} {seed}: {asked} answers, {minutes:.1f} min, F {history[-1].pairwise_f:.4f}", flush=True)
        for project in log.projects():
            there.delete_project(project.project_id)
        log.close()
        there.close()
        return history


def _answer_all(
    log: ReviewLog, there: LabelStudioServer, people: Sequence[Person], who: Mapping[str, str]
) -> list[tuple[Question, bool]]:
    """Everything that waits, each by the next annotator who has not answered that question."""
    closed = {key for key, settlement in log.settlements().items() if settlement.state in CLOSED}
    answered: dict[str, int] = {}
    for version in log.annotations():
        answered[version.question_id] = answered.get(version.question_id, 0) + 1
    waiting = {task.task_id: task for task in log.tasks(states={"pushed"}) if task.question_id not in closed}
    questions = {
        question.question_id: question for question in log.questions({t.question_id for t in waiting.values()})
    }
    keys = {task.project_key for task in waiting.values()}
    done = []
    for project in (project for project in log.projects() if project.key in keys):
        for found in there.tasks(project.project_id):
            task = waiting.get(found.task_id)
            if task is None or found.annotations:
                continue
            question = questions[task.question_id]
            subject = subject_of(question)
            for turn in range(question.needs if task.round == 1 else 1):
                person = people[(answered.get(task.question_id, 0) + turn + found.task_id) % len(people)]
                answer = person.answer(subject, who)
                perfect = Person(name="", desk=person.desk, random=_Never()).answer(subject, who)
                person.desk.annotate(found.task_id, as_result(subject, answer), lead_time_s=question.seconds)
                done.append((question, answer == perfect))
    return done


class _Never(Random):
    """Draws what makes nobody slip."""

    def random(self) -> float:
        return 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--truth", default=FOLDERS)
    parser.add_argument("--truth-except", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--step", type=float, default=0.5, help="minutes of questions between two pulls")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="a param, as for faceloop")
    parser.add_argument("--out", type=Path, default=Path("annotators"))
    options = parser.parse_args()
    spec = TruthSpec(file=None if options.truth == FOLDERS else Path(options.truth), except_file=options.truth_except)
    who = known_people(options.root, spec)
    runs: dict[str, list[list[Progress]]] = {strategy: [] for strategy in STRATEGIES}
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder))
        try:
            for seed in range(options.seeds):
                people = [
                    hire(server, f"annotator-{seed}-{number}", 100 * seed + number) for number in range(ANNOTATORS)
                ]
                for strategy in STRATEGIES:
                    runs[strategy].append(
                        one_run(
                            options.root,
                            strategy,
                            seed,
                            minutes_at_most=options.minutes,
                            step_min=options.step,
                            who=who,
                            server=server,
                            people=people,
                            sets=options.set,
                        )
                    )
        finally:
            stop_server(Path(folder))
    options.out.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[CurvePoint]] = {name: average_curve(histories) for name, histories in runs.items()}
    save_curves(curves, options.out / "annotators.png", title=f"{len(who)} faces, {ERROR_RATE:.0%} wrong answers")
    for strategy, histories in runs.items():
        for target in TARGETS:
            print(strategy, target, [_minutes_to(history, target) for history in histories])
    document = {name: [[asdict(step) for step in history] for history in histories] for name, histories in runs.items()}
    (options.out / "annotators.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _minutes_to(history: list[Progress], target: float) -> float | None:
    """Minutes after which the score was reached for good; None where it was not."""
    asked = questions_to_reach(history, target)
    return (
        next((round(step.minutes, 2) for step in history if step.questions == asked), None)
        if asked is not None
        else None
    )


if __name__ == "__main__":
    main()
