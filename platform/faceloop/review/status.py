"""Figures of review as tables for a terminal."""

from rich.table import Table

from faceloop.review.figures import AuditFigures, ReviewFigures


def status_tables(figures: ReviewFigures) -> list[Table]:
    """Backlog and yield; then kinds; then annotators. The queue is told by its length."""
    return [_whole(figures), _kinds(figures), _annotators(figures)]


def _whole(figures: ReviewFigures) -> Table:
    table = Table(title="Review", show_header=False, title_justify="left")
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in figures.states.items())
    interval = ""
    if figures.agreement_low is not None and figures.agreement_high is not None:
        interval = f" ({figures.agreement_low:.0%} to {figures.agreement_high:.0%})"
    rows = [
        ("waiting", f"{figures.waiting} questions, oldest {shown(figures.oldest_waiting_h, '.1f', ' h')}"),
        ("answered", f"{figures.answers} answers; {states or 'nothing settled yet'}"),
        ("skipped, unreadable", f"{figures.skipped}, {figures.unreadable}"),
        ("to decide", f"{len(figures.queue)} questions (`faceloop review queue`)"),
        ("agreement", shown(figures.agreement, ".1%") + interval + f", alpha {shown(figures.alpha, '.2f')}"),
        ("against the machine", shown(figures.overruled, ".0%")),
        ("people's time", f"{figures.minutes:.1f} min for {figures.identities} identities"),
        ("per 1,000 identities", shown(figures.minutes_per_1000_identities, ".0f", " min")),
        ("expected gain", f"{figures.gain:.0f} pairs put right, {shown(figures.gain_per_answer, '.2f')} an answer"),
        ("… a minute", shown(figures.gain_per_minute, ".1f", " pairs")),
        ("detector's boxes", _boxes(figures.audit)),
        ("detector's points", _points(figures.audit)),
        ("hints", f"{figures.hints} wait for a pull"),
    ]  # fmt: skip
    for name, value in rows:
        table.add_row(name, value)
    return table


def _boxes(audit: AuditFigures) -> str:
    found = f"{audit.wrong} wrong, {audit.moved} badly placed, {audit.missed} missed"
    return f"{audit.boxes} on {audit.frames} frames: {found}"


def _points(audit: AuditFigures) -> str:
    within = shown(audit.points_within, ".0%")
    return f"{within} of {audit.faces} faces within 2 px, median {shown(audit.points_median_px, '.1f', ' px')}"


def _kinds(figures: ReviewFigures) -> Table:
    table = Table("question", "waiting", "answers", "median", "agreement")
    for row in figures.kinds:
        table.add_row(
            row.kind.replace("_", " "), str(row.waiting), str(row.answers),
            shown(row.median_s, ".1f", " s"), shown(row.agreement, ".0%"),
        )  # fmt: skip
    return table


def _annotators(figures: ReviewFigures) -> Table:
    table = Table("annotator", "answers", "honeypots wrong", "error rate", "agreement", "hasty", "")
    for row in figures.annotators:
        table.add_row(
            short_name(row.annotator), str(row.answers), f"{row.honeypots_wrong} of {row.honeypots}",
            f"{row.error_rate:.1%} ({row.error_low:.1%} to {row.error_high:.1%})", shown(row.agreement, ".0%"),
            str(row.hasty), "checked" if row.is_careless else "",
        )  # fmt: skip
    return table


def short_name(annotator: str) -> str:
    """`INSTANCE/USER` with the instance cut short: on one server the user's number tells people apart."""
    instance, _, user = annotator.rpartition("/")
    return f"{instance[:6]}…/{user}" if len(instance) > 8 else annotator


def shown(value: float | None, spelled: str, unit: str = "") -> str:
    """The number, or a dash where there is none."""
    return "–" if value is None else f"{value:{spelled}}{unit}"
