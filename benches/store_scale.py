"""What a store of very many people costs: seconds to load it, and to do in it what commands do.

Fills an empty place with invented people of four records and a small profile, in batches, and prints at a tenth of them
and at all of them how many a second were loaded, beside the same rows by the database's own means (``executemany`` for
SQLite, ``COPY`` for PostgreSQL), and the wall-clock milliseconds of what commands ask, the median of several runs. The
processor's seconds stand beside the clock's, since other programs may run on the machine.

    python -m benches.store_scale 1000000 /tmp/people/store.sqlite
    python -m benches.store_scale 1000000 postgresql          # a server of its own, in a temporary folder
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, select, text

from hyperalign.errors import NotFoundError
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample
from hyperalign.store import Store
from hyperalign.store.tables import PersonRow, RecordRow, VersionRow
from tests.fixtures.postgres import postgres

_FIRST = "ada bruno chiara david elena farid greta hugo ines jonas kamala lena mira nadia olga pavel rosa sven tara uma"
_LAST = "king lovelace meyer novak okafor petrov quist rossi silva tanaka ueda varga weber xu young zhang almeida berg"
_WORDS = "the of to and a in it is that we you for on with as be this have not are but by at which or one they will my"
_NOUNS = "letter garden station train harbor music kitchen winter question answer morning window market paper"
_GERMAN = "der die und in zu den das nicht von sie ist des sich mit dem dass er es ein ich auf so eine auch als an nach"
_REPEATS = 7


def invent(count: int, seed: int = 1) -> Iterator[tuple[list[Record], Profile | None]]:
    """People with four records of about forty words; one in ten writes German, one in four has no profile.

    Names come in no order, as accounts do in an export.
    """
    draw = random.Random(seed)
    first, last = _FIRST.split(), _LAST.split()
    plain, german, nouns = _WORDS.split(), _GERMAN.split(), _NOUNS.split()
    made = [
        [" ".join(draw.choices(words, k=30) + draw.choices(nouns, k=10)) for _ in range(500)]
        for words in (plain, german)
    ]
    for number in range(count):
        scattered = number * 7_368_787 % 100_000_007
        user = f"{first[scattered % len(first)]}.{last[scattered // 7 % len(last)]}.{scattered}"
        texts = made[draw.random() < 0.1]
        said = [f"{texts[(number * step) % len(texts)]} {number}." for step in (1, 3, 7, 11, 13, 17)]
        records: list[Record] = [
            Sample(user=user, text=said[0]),
            Sample(user=user, text=said[1]),
            Pair(user=user, prompt=said[2][:60], chosen=said[3], rejected=said[4]),
            Edit(user=user, prompt=said[2][:60], draft=said[4], edited=said[5]),
        ]
        yield records, Profile(user=user, stated=[said[2]]) if draw.random() < 0.75 else None


class _Made:
    """Some of the invented people, and how long it took to invent them, which is no part of loading them."""

    def __init__(self, source: Iterator[tuple[list[Record], Profile | None]], count: int) -> None:
        self._source, self._count = source, count
        self.wall = self.cpu = 0.0

    def __iter__(self) -> Iterator[tuple[list[Record], Profile | None]]:
        for _ in range(self._count):
            began, worked = time.perf_counter(), time.process_time()
            person = next(self._source)
            self.wall, self.cpu = self.wall + time.perf_counter() - began, self.cpu + time.process_time() - worked
            yield person


def timed(work: Callable[[], Any]) -> float:
    """Median milliseconds of some work; its first run, which may read from the disk, counts as any other."""
    taken = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        taken.append(1_000 * (time.perf_counter() - began))
    return statistics.median(taken)


def misspelled(store: Store, user: str) -> None:
    """Ask for a name with a letter too many in the middle; the right one must be suggested."""
    wrong = f"{user[: len(user) // 2]}q{user[len(user) // 2 :]}"
    try:
        store.load(wrong)
    except NotFoundError as error:
        if repr(user) not in (error.remedy or ""):
            raise SystemExit(f"{user!r} was not suggested for {wrong!r}: {error.remedy}") from error


def measure(place: str, user: str) -> dict[str, float]:
    """Milliseconds of what commands ask of the store."""
    serial = iter(range(10**9))
    with Store(place) as store:
        store.load(user)

        def update() -> None:
            # What ``hyperalign update`` reads and writes of one person.
            store.add_records([Sample(user=user, text=f"Another letter, number {time.time_ns()} {next(serial)}.")])
            store.records(user)
            store.other_records(user, 200)
            memory = store.memory(user)
            rows = ",".join(f'{{"user": "{each.user}"}}' for each in store.users(limit=9))
            store.remember(store.load(user), f'{{"rows": [{rows}], "at": {time.time_ns()}}}', instead_of=memory)

        return {
            "open the store": timed(lambda: Store(place).close()),
            "population sample, 200 of each kind": timed(lambda: store.other_records(user, 200)),
            "show a profile": timed(lambda: store.load(user)),
            "a mistyped name": timed(lambda: misspelled(store, user)),
            "list, first page of 100": timed(lambda: store.users(limit=101)),
            "list, a page in the middle": timed(lambda: store.users(after="mira", limit=101)),
            "list, by the beginning of a name": timed(lambda: store.users(search="Mira.Ok", limit=101)),
            "update of one person": timed(update),
        }


def statements_of_update(place: str, user: str) -> int:
    """How many statements the database runs for the records, memory and profile of one person."""
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    with Store(place) as store:
        event.listen(store._engine, "before_cursor_execute", count)
        store.records(user)
        store.memory(user)
        store.load(user)
        event.remove(store._engine, "before_cursor_execute", count)
    return counted


def copy_plainly(place: str, rows: int, folder: Path) -> tuple[float, float]:
    """Seconds and processor's seconds to load the same people's rows by the database's own means, made before.

    They go to a new store with the same tables, keys and indexes, in one transaction.
    """
    other = str(folder / "plain.sqlite")
    if place.startswith("postgresql"):
        other = place.replace("/postgres?", "/plain?")
        engine = create_engine(place.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE plain"))
        engine.dispose()
    tables = (PersonRow.__table__, RecordRow.__table__, VersionRow.__table__)
    with Store(place) as source, Store(other) as target:
        with source._engine.connect() as reading:
            few = select(PersonRow.user_id).limit(rows).subquery()
            content = [
                reading.execute(select(table).where(table.c.user_id.in_(select(few.c.user_id)))).all()
                for table in tables
            ]
        began, worked = time.perf_counter(), time.process_time()
        raw = target._engine.raw_connection()
        cursor = raw.cursor()
        if place.startswith("postgresql"):
            for table, some in zip(tables, content, strict=True):
                names = ", ".join(column.name for column in table.columns)
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in some:
                        copy.write_row(row)
        else:
            cursor.execute("BEGIN IMMEDIATE")
            for table, some in zip(tables, content, strict=True):
                marks = ", ".join("?" * len(table.columns))
                ready = [[str(v) if hasattr(v, "tzinfo") else v for v in row] for row in some]
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", ready)
            cursor.execute("COMMIT")
        raw.commit()
        taken = time.perf_counter() - began, time.process_time() - worked
        raw.close()
    return taken


def main() -> None:
    """Fill the place and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=int)
    parser.add_argument("place", help="a new SQLite file, or 'postgresql' for a server of its own")
    parser.add_argument("--plain", type=int, default=50_000, help="people to copy by the database's own means; 0: none")
    given = parser.parse_args()
    with ExitStack() as stack:
        place = stack.enter_context(postgres()) if given.place == "postgresql" else given.place
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run(place, given.people, given.plain, folder)


def run(place: str, people: int, plain: int, folder: Path) -> None:
    """Load a tenth of the people, measure, load the others, and measure again."""
    user = next(invent(1))[0][0].user
    source = invent(people)
    columns: list[dict[str, float]] = []
    with Store(place) as store:
        for count in (people // 10, people - people // 10):
            began, worked = time.perf_counter(), time.process_time()
            made = _Made(source, count)
            store.add_people(made, note="invented")
            wall, cpu = time.perf_counter() - began - made.wall, time.process_time() - worked - made.cpu
            columns.append({"people loaded a second": count / wall, "… of this process's time": count / cpu})
            if len(columns) == 1:
                store.save(Profile(user=user, stated=["Be brief."]))
            columns[-1] |= measure(place, user)
    print(f"{'':<40}{people // 10:>14,}{people:>14,}")
    for name in columns[0]:
        print(f"{name:<40}" + "".join(f"{column[name]:>14,.1f}" for column in columns))
    print(f"statements to read one person: {statements_of_update(place, user)}")
    if plain:
        wall, cpu = copy_plainly(place, plain, folder)
        print(f"plainly, of rows made before: {plain / wall:,.0f} people a second, {plain / cpu:,.0f} of its own time")
    if not place.startswith("postgresql"):
        size = sum(Path(f"{place}{end}").stat().st_size for end in ("", "-wal") if Path(f"{place}{end}").exists())
        print(f"{size / 1e9:.2f} GB; {shutil.disk_usage(Path(place).parent).free / 1e9:.0f} GB are free")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
