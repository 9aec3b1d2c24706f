"""The tables of the gateway, in the store's database beside the store's own."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import Float, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "ExchangeRow", "FeedbackIdRow", "FeedbackRow", "SettingRow", "SwitchRow", "Taught"]


class Taught(IntEnum):
    """How far feedback has come: it waits, its records are in the store, or an update has read them."""

    WAITING = 0
    RECORDED = 1
    LEARNED = 2


class Base(DeclarativeBase):
    """The tables of the gateway."""


class SettingRow(Base):
    """A setting that all processes of a gateway share."""

    __tablename__ = "hyperalign_gateway_settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class ExchangeRow(Base):
    """One answered request of a known person."""

    __tablename__ = "hyperalign_gateway_requests"

    request_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    response_id: Mapped[str] = mapped_column(String(256), index=True)
    user_id: Mapped[str] = mapped_column(String(128), index=True)
    conversation: Mapped[str] = mapped_column(String(64))
    arm: Mapped[str] = mapped_column(String(16))
    version: Mapped[int] = mapped_column(Integer)
    time: Mapped[str] = mapped_column(String(40), index=True)
    prompt: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)


class FeedbackRow(Base):
    """One piece of feedback, and what it says of the arm that it is about."""

    __tablename__ = "hyperalign_gateway_feedback"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    feedback_id: Mapped[str] = mapped_column(String(128))
    user_id: Mapped[str] = mapped_column(String(128), index=True)
    time: Mapped[str] = mapped_column(String(40))
    kept: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    request: Mapped[str] = mapped_column(String(256))
    conversation: Mapped[str] = mapped_column(String(64), default="")
    arm: Mapped[str] = mapped_column(String(16), default="")
    value: Mapped[float | None] = mapped_column(Float, default=None)
    taught: Mapped[int] = mapped_column(Integer, default=0, index=True)

    __table_args__ = ({"sqlite_autoincrement": True},)


class FeedbackIdRow(Base):
    """Ids of feedback, unique for each person, so that what is sent twice is kept once."""

    __tablename__ = "hyperalign_gateway_feedback_ids"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    feedback_id: Mapped[str] = mapped_column(String(128), primary_key=True)


class SwitchRow(Base):
    """A person whose profile is switched off as a whole, and why."""

    __tablename__ = "hyperalign_gateway_switches"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    time: Mapped[str] = mapped_column(String(40))
