"""What the gateway keeps: its nouns, and their tables in the store's database beside the store's own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from sqlalchemy import Float, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "Arm",
    "Base",
    "Exchange",
    "ExchangeRow",
    "FeedbackIdRow",
    "FeedbackRow",
    "Kind",
    "Outcome",
    "Said",
    "SettingRow",
    "State",
    "SwitchRow",
    "Taught",
]

Arm = Literal["on", "off", "forced_on", "forced_off", "switched_off"]
"""Whether a request was answered with the profile; only ``on`` and ``off`` were dealt at random and are compared."""
Kind = Literal["thumb", "edit", "choice"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered request.

    Attributes:
        id: the proxy's id of the call, which it returns in ``x-litellm-call-id``.
        response: the answer's own ``id``.
        user: the person.
        conversation: a hash of the conversation's id or first turn.
        arm: whether the profile was on.
        version: of the profile.
        prompt: the last user turn.
        answer: what the model said.
    """

    id: str
    response: str
    user: str
    conversation: str
    arm: Arm
    version: int
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One piece of feedback as it is kept.

    Attributes:
        id: unique for the person.
        user: the person.
        kind: a thumb, an edit or a choice.
        content: what was said, as JSON-able data.
        request: the id of the request or answer that it is about; empty if there is none.
        time: when it came, in ISO 8601.
        arm: of the request, once it is known.
        value: the outcome from 0 to 1, of a choice from -1 to 1; None if it says nothing of the arms.
    """

    id: str
    user: str
    kind: Kind
    content: dict[str, Any]
    request: str = ""
    time: str = ""
    arm: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome under one arm, in the order in which they came."""

    user: str
    conversation: str
    kind: Kind
    arm: str
    value: float


@dataclass(frozen=True, slots=True)
class State:
    """The newest version of a person's profile as JSON, its number, and why the profile is switched off if it is."""

    content: str
    number: int
    switched_off: str = ""


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
