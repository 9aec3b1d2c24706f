"""The tables of the store, the same for SQLite and PostgreSQL.

Records and profiles are kept as the JSON that the nouns write, in plain text columns: a
JSON column would refuse the NUL escapes that a person's text may hold. This file opens nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

__all__ = ["SCHEMA_VERSION", "Base", "MemoryRow", "MetaRow", "RecordRow", "VersionRow"]

SCHEMA_VERSION = 1


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC: SQLite forgets time zones, so they are put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: always UTC; a time without a zone is taken to be UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From the database: always with its time zone."""
        return self.process_bind_param(value, dialect)


class Base(DeclarativeBase):
    """All tables of the store."""


class MetaRow(Base):
    """Facts about the store itself, such as the version of these tables."""

    __tablename__ = "hyperalign_meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class RecordRow(Base):
    """One record of one person; ``number`` keeps the order in which they came."""

    __tablename__ = "hyperalign_records"
    __table_args__ = (UniqueConstraint("user_id", "record_id"),)

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(String(128))
    record_id: Mapped[str] = mapped_column(String(256))
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)


class VersionRow(Base):
    """One version of one person's profile; rows are only ever added, removed with the person, or
    rid of what the person wants forgotten."""

    __tablename__ = "hyperalign_versions"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcTime)
    note: Mapped[str] = mapped_column(Text, default="")
    kept: Mapped[int] = mapped_column(Integer)
    dropped: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(Text)


class MemoryRow(Base):
    """What is remembered of fitting one person, so that new records can be added without the old ones."""

    __tablename__ = "hyperalign_memories"

    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    content: Mapped[str] = mapped_column(Text)
