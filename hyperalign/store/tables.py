"""The tables of the store, for SQLite and PostgreSQL alike, and how many rows are added to one at once.

Records and profiles are kept as JSON in text columns: a JSON column would refuse the NUL escapes that texts may hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    insert,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "SCHEMA_VERSION",
    "Base",
    "MemoryRow",
    "MentionRow",
    "MetaRow",
    "PersonRow",
    "RecordRow",
    "VersionRow",
    "insert_rows",
    "shuffle_key",
]

SCHEMA_VERSION = 2
_COPIED_FROM = 100  # rows: fewer are inserted as quickly


def _name(length: int) -> TypeEngine[str]:
    # Ordered by code points in any locale, so that an index gives ranges of names and the order of Python.
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def shuffle_key(user: str) -> int:
    """A person's place in an order that tells nothing of them, the same in every store.

    Returns:
        The first 63 bits of a hash of the id; two people of a million share one with odds of 1 in 10 million.
    """
    hashed = hashlib.blake2b(user.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(hashed, "big") >> 1


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite drops time zones, so reading puts them back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a time without a zone is in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Add the time zone."""
        return self.process_bind_param(value, dialect)


class Base(DeclarativeBase):
    """All tables of the store."""


class MetaRow(Base):
    """Facts about the store, such as the version of its tables."""

    __tablename__ = "hyperalign_meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(256))


class RecordRow(Base):
    """One record of one person; ``number`` keeps the order of insertion.

    Attributes:
        language: the person's, not this text's; as in ``PersonRow``.
        turn: how many records of this kind the person had before, so that people can take turns.
        shuffle: of the person; see ``shuffle_key``.
    """

    __tablename__ = "hyperalign_records"
    __table_args__ = (
        UniqueConstraint("user_id", "record_id"),
        # A sample of a population is a range of it.
        Index("ix_hyperalign_records_turns", "kind", "language", "turn", "shuffle"),
    )

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    user_id: Mapped[str] = mapped_column(_name(128))
    record_id: Mapped[str] = mapped_column(_name(256))
    kind: Mapped[str] = mapped_column(_name(16))
    language: Mapped[str] = mapped_column(_name(16), default="")
    turn: Mapped[int] = mapped_column(Integer)
    shuffle: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str] = mapped_column(Text)


class VersionRow(Base):
    """One version of one person's profile; changed only to forget a record or hypothesis."""

    __tablename__ = "hyperalign_versions"

    user_id: Mapped[str] = mapped_column(_name(128), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    time: Mapped[datetime] = mapped_column(UtcTime)
    note: Mapped[str] = mapped_column(Text, default="")
    kept: Mapped[int] = mapped_column(Integer)
    dropped: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(Text)


class MemoryRow(Base):
    """The memory of one person's fit, so that an update need not read the old records again."""

    __tablename__ = "hyperalign_memories"

    user_id: Mapped[str] = mapped_column(_name(128), primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class MentionRow(Base):
    """Somebody whom the memory of another person's fit names, as a hash, so that all who do are found at once."""

    __tablename__ = "hyperalign_mentions"

    named: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    user_id: Mapped[str] = mapped_column(_name(128), primary_key=True, index=True)


class PersonRow(Base):
    """One person, with what is kept up to date about them in the transactions that change it.

    Attributes:
        folded: what an id in other case or width would share; see ``records.look_alike_keys``.
        look_alike: what an id in letters of other scripts would share.
        backwards: ``folded`` from its end, to find names by their ends.
        language: in which the person writes, an ISO 639 code; empty if it is not known.
        samples: the number of records of this kind; ``pairs`` and ``edits`` likewise.
        versions: the number of versions of their profile.
    """

    __tablename__ = "hyperalign_people"

    user_id: Mapped[str] = mapped_column(_name(128), primary_key=True)
    folded: Mapped[str] = mapped_column(_name(512), index=True)
    look_alike: Mapped[str] = mapped_column(_name(512), index=True)
    backwards: Mapped[str] = mapped_column(_name(512), index=True)
    language: Mapped[str] = mapped_column(_name(16), default="")
    samples: Mapped[int] = mapped_column(Integer, default=0)
    pairs: Mapped[int] = mapped_column(Integer, default=0)
    edits: Mapped[int] = mapped_column(Integer, default=0)
    versions: Mapped[int] = mapped_column(Integer, default=0)


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert many rows at once.

    Args:
        session: a transaction that writes.
        table: their table.
        rows: by column; all have the same columns in the same order.
    """
    if not rows:
        return
    session.flush()
    connection = session.connection()
    if connection.dialect.name == "postgresql" and len(rows) >= _COPIED_FROM:
        _copy(connection, table.__tablename__, rows)
    else:
        connection.execute(insert(table), rows)


def _copy(connection: Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows by PostgreSQL's COPY, which takes a quarter of the time of INSERT."""
    dialect, driver = connection.dialect, cast(Any, connection.connection.driver_connection)
    statement = f"COPY {table} ({', '.join(rows[0])}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
    except cast(Any, dialect).dbapi.Error as error:
        # As SQLAlchemy raises errors of its own statements: another process may have taken an id meanwhile.
        kind = cast(Any, dialect).dbapi.Error
        raise DBAPIError.instance(statement, None, error, kind, hide_parameters=True, dialect=dialect) from error
