"""The adapter against the real server: what docs/label-studio.md says that it does."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.annotator import Annotator, new_annotator
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import Login, log_in
from facereview.server import PredictionDraft, ServerProject, TaskDraft
from facestore.errors import ServerAway, ServerGone, ServerRefused
from facestore.ids import JsonValue

from .listening import listening

CONFIG = (
    '<View><Image name="picture" value="$picture"/>'
    '<Choices name="verdict" toName="picture"><Choice value="same"/><Choice value="different"/></Choices></View>'
)


def said(verdict: str) -> tuple[JsonValue, ...]:
    choices: list[JsonValue] = [verdict]
    return ({"from_name": "verdict", "to_name": "picture", "type": "choices", "value": {"choices": choices}},)


def suggestion(version: str, verdict: str = "same") -> PredictionDraft:
    return PredictionDraft(model_version=version, score=0.75, result=said(verdict))


def drafts(count: int, prediction: PredictionDraft | None = None) -> list[TaskDraft]:
    return [
        TaskDraft(question_id=f"{number:032x}", data={"picture": f"/data/{number}.jpg"}, prediction=prediction)
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def admin(label_studio: RunningServer) -> Login:
    return log_in(label_studio.url, label_studio.email, label_studio.password)


@pytest.fixture(scope="module")
def annotators(admin: Login) -> list[Annotator]:
    return [new_annotator(admin, f"adapter-{number}@faceloop.example", "a-long-password") for number in range(3)]


@pytest.fixture
def project(server: LabelStudioServer) -> Iterator[ServerProject]:
    made = server.create_project(
        title="same person", description="key 7", label_config=CONFIG, overlap=1, model_version="run-1"
    )
    yield made
    with suppress(ServerGone):
        server.delete_project(made.project_id)


@pytest.mark.integration
class TestARealServer:
    def test_it_says_its_version_and_keeps_its_instance(
        self, server: LabelStudioServer, label_studio: RunningServer
    ) -> None:
        assert server.check() == "1.23.2"
        assert _instance(label_studio.url + "/", label_studio.token) == server.instance
        assert server.instance.startswith("ls-")

    def test_tokens_of_both_kinds_are_taken(
        self, server: LabelStudioServer, label_studio: RunningServer, admin: Login
    ) -> None:
        assert _instance(label_studio.url, admin.legacy_token()) == server.instance

    @pytest.mark.parametrize("token", ["0" * 40, "e30.e30.e30", "", "not a token"])
    def test_a_wrong_token_is_refused_with_what_to_do(self, label_studio: RunningServer, token: str) -> None:
        with pytest.raises(ServerRefused, match="personal access token"):
            LabelStudioServer(label_studio.url, token, retries=0)

    def test_a_legacy_token_is_refused_where_they_are_off(self, label_studio: RunningServer, admin: Login) -> None:
        admin.allow_legacy_tokens(allowed=False)
        try:
            with pytest.raises(ServerRefused, match="legacy token authentication has been disabled"):
                LabelStudioServer(label_studio.url, admin.legacy_token(), retries=0)
        finally:
            admin.allow_legacy_tokens(allowed=True)

    def test_a_token_that_was_minted_before_is_void(
        self, label_studio: RunningServer, annotators: list[Annotator]
    ) -> None:
        old = annotators[2].login.mint()
        before = _instance(label_studio.url, old)
        new = annotators[2].login.mint()
        assert _instance(label_studio.url, new) == before
        with pytest.raises(ServerRefused, match="does not take the token"):
            LabelStudioServer(label_studio.url, old, retries=0)

    def test_a_project_comes_back_as_made(self, server: LabelStudioServer, project: ServerProject) -> None:
        assert project in server.projects()
        assert (project.title, project.description, project.label_config) == ("same person", "key 7", CONFIG)
        assert abs(datetime.now(UTC) - project.created_at) < timedelta(minutes=5)

    def test_tasks_come_back_as_made_over_blocks(self, server: LabelStudioServer, project: ServerProject) -> None:
        made = drafts(260, suggestion("run-1"))
        task_ids = server.create_tasks(project.project_id, made)
        found = {task.question_id: task for task in server.tasks(project.project_id)}
        assert {key: task.task_id for key, task in found.items()} == task_ids
        assert all(found[task.question_id].data == {**task.data, "question_id": task.question_id} for task in made)
        assert not any(task.has_draft or task.annotations for task in found.values())
        assert server.task(task_ids[made[5].question_id]) == found[made[5].question_id]

    def test_predictions_are_replaced_not_added(self, server: LabelStudioServer, project: ServerProject) -> None:
        task_ids = server.create_tasks(project.project_id, drafts(3, suggestion("run-1")))
        chosen = sorted(task_ids.values())[:2]
        for version in ("run-2", "run-2", "run-3"):
            server.replace_predictions(project.project_id, dict.fromkeys(chosen, suggestion(version, "different")))
        assert _versions(server, chosen[0]) == ["run-3"]
        assert _versions(server, chosen[1]) == ["run-3"]
        assert _versions(server, max(task_ids.values())) == ["run-1"]

    def test_a_missing_task_stops_the_replacement_before_anything_is_taken_away(
        self, server: LabelStudioServer, project: ServerProject
    ) -> None:
        task_ids = sorted(server.create_tasks(project.project_id, drafts(2, suggestion("run-1"))).values())
        server.delete_task(task_ids[1])
        with pytest.raises(ServerGone, match=f"no task {task_ids[1]}"):
            server.replace_predictions(project.project_id, dict.fromkeys(task_ids, suggestion("run-2")))
        assert _versions(server, task_ids[0]) == ["run-1"]

    def test_what_annotators_do_is_seen(
        self, server: LabelStudioServer, project: ServerProject, annotators: list[Annotator]
    ) -> None:
        first, second, third = server.create_tasks(project.project_id, drafts(3)).values()
        ann, bob, _ = annotators
        answered = ann.annotate(first, said("same"), lead_time_s=4.5)
        bob.skip(second)
        bob.draft(third, said("same"))
        found = {task.task_id: task for task in server.tasks(project.project_id)}
        (answer,) = found[first].annotations
        assert (answer.annotation_id, answer.user_id, answer.result) == (answered, ann.user_id, said("same"))
        assert (answer.lead_time_s, answer.is_skipped) == (4.5, False)
        assert [(skip.is_skipped, skip.user_id) for skip in found[second].annotations] == [(True, bob.user_id)]
        assert found[third].has_draft and not found[third].annotations
        ann.edit(answered, said("different"))
        (edited,) = server.task(first).annotations
        assert (edited.unique_id, edited.result) == (answer.unique_id, said("different"))
        assert edited.updated_at > answer.updated_at

    def test_each_change_to_an_answer_shows_in_what_changed_since(
        self, server: LabelStudioServer, project: ServerProject, annotators: list[Annotator]
    ) -> None:
        first, second = server.create_tasks(project.project_id, drafts(2)).values()
        ann = annotators[0]
        answers: list[int] = []
        changes: list[Callable[[], object]] = [
            lambda: answers.append(ann.annotate(first, said("same"))),
            lambda: ann.edit(answers[0], said("different")),
            lambda: ann.delete(answers[0]),
            lambda: answers.append(ann.skip(first)),
            lambda: server.update_task_data(first, {"picture": "/other.jpg"}),
        ]
        for change in changes:
            before = max(server.task(first).updated_at, server.task(second).updated_at)
            assert not list(server.tasks(project.project_id, updated_after=before))
            change()
            changed = list(server.tasks(project.project_id, updated_after=before))
            assert [task.task_id for task in changed] == [first]
            assert changed[0] == server.task(first)
        assert changed[0].question_id is None

    def test_a_deleted_task_gives_its_id_to_the_next_so_an_id_names_no_question(
        self, server: LabelStudioServer, project: ServerProject
    ) -> None:
        one, other = drafts(2)
        (task_id,) = server.create_tasks(project.project_id, [one]).values()
        server.delete_task(task_id)
        with pytest.raises(ServerGone):
            server.task(task_id)
        assert server.create_tasks(project.project_id, [other]) == {other.question_id: task_id}
        assert server.task(task_id).question_id == other.question_id

    def test_an_overlap_hides_tasks_in_the_stream_but_takes_further_answers(
        self, server: LabelStudioServer, project: ServerProject, annotators: list[Annotator]
    ) -> None:
        (task_id,) = server.create_tasks(project.project_id, drafts(1)).values()
        ann, bob, _ = annotators
        assert ann.next_task(project.project_id) == task_id
        assert bob.next_task(project.project_id) is None  # it is kept for whom it was shown to
        ann.annotate(task_id, said("same"))
        assert ann.next_task(project.project_id) is None
        assert bob.next_task(project.project_id) is None
        bob.annotate(task_id, said("different"))
        assert len(server.task(task_id).annotations) == 2

    def test_all_of_a_deleted_project_is_gone(self, server: LabelStudioServer, project: ServerProject) -> None:
        (task_id,) = server.create_tasks(project.project_id, drafts(1)).values()
        server.delete_project(project.project_id)
        number = project.project_id
        asked: list[Callable[[], object]] = [
            lambda: list(server.tasks(number)),
            lambda: server.task(task_id),
            lambda: server.create_tasks(number, drafts(1)),
            lambda: server.delete_project(number),
            lambda: server.delete_task(task_id),
            lambda: server.set_model_version(number, "x"),
            lambda: server.replace_predictions(number, {task_id: suggestion("x")}),
        ]
        for ask in asked:
            with pytest.raises(ServerGone):
                ask()

    def test_what_does_not_fit_is_refused_with_the_server_s_reason(
        self, server: LabelStudioServer, project: ServerProject
    ) -> None:
        with pytest.raises(ServerRefused, match='"picture" key is expected'):
            server.create_tasks(project.project_id, [TaskDraft(question_id="q", data={}, prediction=None)])
        with pytest.raises(ServerRefused, match="label_config"):
            server.create_project(
                title="broken", description="", label_config="<View><Nothing", overlap=1, model_version=""
            )

    def test_hints_go_to_loopback_and_never_to_private_networks(
        self, server: LabelStudioServer, project: ServerProject, annotators: list[Annotator]
    ) -> None:
        (task_id,) = server.create_tasks(project.project_id, drafts(1)).values()
        with listening() as (url, heard):
            for secret in ("first", "second"):
                server.add_webhook(project.project_id, f"{url}/hints", secret)
            annotation_id = annotators[0].annotate(task_id, said("same"))
        hints = [(call.authorization, json.loads(call.body)) for call in heard]
        assert [(who, body["action"], body["annotation"]["id"]) for who, body in hints] == [
            ("Bearer second", "ANNOTATION_CREATED", annotation_id)
        ]
        with pytest.raises(ServerRefused, match="reserved network"):
            server.add_webhook(project.project_id, "http://10.0.0.1/hints", "s")

    def test_a_folder_is_connected_once_and_served_to_those_who_logged_in(
        self, server: LabelStudioServer, project: ServerProject, label_studio: RunningServer, admin: Login
    ) -> None:
        shelf = Path(label_studio.files) / "adapter"
        shelf.mkdir()
        (shelf / "one.jpg").write_bytes(b"\xff\xd8 a picture")
        for _ in range(2):
            server.connect_folder(project.project_id, str(shelf))
        address = "/data/local-files/?d=adapter/one.jpg"
        assert admin.call("GET", address)[0] == 200
        with pytest.raises(ServerAway, match="HTTP 500"):  # that is how it refuses a way out
            admin.call("GET", "/data/local-files/?d=../credentials.json")
        with pytest.raises(ServerRefused, match="local path"):
            server.connect_folder(project.project_id, "/etc")


def _instance(url: str, token: str) -> str:
    with closing(LabelStudioServer(url, token)) as server:
        return server.instance


def _versions(server: LabelStudioServer, task_id: int) -> list[str]:
    found = server.predictions(task_id)
    return [draft.model_version for draft in found]
