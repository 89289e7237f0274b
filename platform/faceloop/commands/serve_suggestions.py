"""serve-suggestions: Label Studio's ML backend over a root."""

from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.params import section
from faceloop.review_params import ReviewParams
from faceloop.suggestions import WorkspaceSuggester
from facereview.services.suggest import Login, SuggestionDesk, suggestion_app
from facestore.reviewlog import ReviewLog


def serve_suggestions(
    password: Annotated[str, typer.Option(envvar="FACELOOP_SUGGESTIONS_PASSWORD", help="That Label Studio must send.")],
    user: Annotated[str, typer.Option(help="That Label Studio must send.")] = "label-studio",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9090,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Suggest answers to annotators as things stand: Label Studio asks each time a task is opened. Until stopped."""
    from facereview.services.serve import serve

    login = Login(user=user, password=password)
    work = workspace(root, params, overrides)
    log = ReviewLog(work.ledger_url())
    try:
        suggester = WorkspaceSuggester(work, work.progress.say)
        suggester.prepare()  # says at once what is missing
        desk = SuggestionDesk(
            log=log,
            suggester=suggester,
            schema=section(work.tree, "review", ReviewParams).schema_of_attributes(),
            say=work.progress.say,
        )
        serve(suggestion_app(desk=desk, login=login), host=host, port=port)
    finally:
        log.close()
