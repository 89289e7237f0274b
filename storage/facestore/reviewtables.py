"""The catalogue's tables of review: what was asked where, what people answered, what it came to."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Integer, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from facestore.catalogue import Moment, Tables, make_append_only

_SERIAL = BigInteger().with_variant(Integer, "sqlite")


class QuestionRow(Tables):
    """A question that was offered for asking. Its suggestion and rank follow the latest run while nobody answered."""

    __tablename__ = "question"

    question_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    subject: Mapped[str] = mapped_column(Text)
    subset: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    reason_detail: Mapped[str] = mapped_column(Text)
    model_version: Mapped[str] = mapped_column(Text)
    chance: Mapped[float] = mapped_column(Float(53))
    gain: Mapped[float] = mapped_column(Float(53))
    seconds: Mapped[float] = mapped_column(Float(53))
    needs: Mapped[int] = mapped_column(Integer)
    expected: Mapped[str | None] = mapped_column(Text)
    rank: Mapped[int] = mapped_column(Integer)
    offered_at: Mapped[datetime] = mapped_column(Moment(), index=True)


class ProjectRow(Tables):
    __tablename__ = "review_project"
    __table_args__ = (UniqueConstraint("instance", "project_id", "key"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    instance: Mapped[str] = mapped_column(Text)
    project_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(16))
    round: Mapped[int] = mapped_column(Integer)
    overlap: Mapped[int] = mapped_column(Integer)
    config_sha256: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment())
    is_open: Mapped[bool] = mapped_column(Boolean)


class TaskRow(Tables):
    """One asking of one question: a second row for the same one cannot be. Lost ones stay: they may come back."""

    __tablename__ = "review_task"
    __table_args__ = (UniqueConstraint("project_key", "task_id"),)

    question_id: Mapped[str] = mapped_column(String(64), ForeignKey("question.question_id"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    asking: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_key: Mapped[str] = mapped_column(String(64), ForeignKey("review_project.key"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), index=True)
    changed_at: Mapped[datetime] = mapped_column(Moment())
    model_version: Mapped[str] = mapped_column(Text)


class AnnotationRow(Tables):
    """Every version of every answer. An edit, a skip and a deletion are versions too."""

    __tablename__ = "review_annotation"
    __table_args__ = (UniqueConstraint("project_key", "unique_id", "version"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment(), server_default=func.now())
    version_id: Mapped[str] = mapped_column(String(64), unique=True)  # of project, unique_id and version
    project_key: Mapped[str] = mapped_column(String(64))
    unique_id: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    annotation_id: Mapped[int] = mapped_column(BigInteger)
    task_id: Mapped[int] = mapped_column(BigInteger)
    question_id: Mapped[str] = mapped_column(String(64), index=True)
    annotator: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    answer: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(Moment())
    lead_time_s: Mapped[float | None] = mapped_column(Float(53))
    digest: Mapped[str] = mapped_column(String(64))
    seen_at: Mapped[datetime] = mapped_column(Moment())


class SettlementRow(Tables):
    __tablename__ = "review_settlement"

    question_id: Mapped[str] = mapped_column(String(64), ForeignKey("question.question_id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    decision_ids: Mapped[list[str]] = mapped_column(JSON)
    changed_at: Mapped[datetime] = mapped_column(Moment())


class HintRow(Tables):
    """Waiting hints; a hint that was looked into is removed."""

    __tablename__ = "review_hint"

    hint_id: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    annotation_id: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(Moment())


make_append_only(AnnotationRow, "version_id")
