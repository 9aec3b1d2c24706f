"""Reuters C50 (Houvardas and Stamatatos 2006): rewrite an article in its author's style from its lead.

``C50train/<author>/*.txt`` are records and ``C50test/<author>/*.txt`` are cases. All authors write wire news, so their
styles differ little.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterator
from pathlib import Path

from hyperalign.errors import InputError
from hyperalign.records import Sample

from ..cases import Case, CaseKind, Split, case_id
from .files import read_text

__all__ = ["C50"]

_LEAD_WORDS = 35
_PROMPT = "Write a news article of at most {words} words that begins like this: {lead}"


class C50:
    """Articles to write in an author's style.

    Args:
        data: the folder that holds ``C50train`` and ``C50test``.
        records: how many training articles a profile may be fitted on.
        cases_each: test articles of each author.
        words: the maximum length that the prompt asks for.
    """

    name = "c50"
    kind: CaseKind = "writing"
    unit = "author"
    data = "the folder that holds C50train and C50test"

    def __init__(self, data: Path, *, records: int = 8, cases_each: int = 8, words: int = 200) -> None:
        self._data = data
        self._records = records
        self._cases_each = cases_each
        self._words = words

    def cases(self, *, seed: int = 0) -> list[Case]:
        """A sample of test articles of each author."""
        return list(self._all(seed))

    def note(self) -> str:
        """How many authors are left out."""
        few = sum(len(_articles(self._data / "C50train" / author)) < self._records for author in self._authors())
        return f"Authors left out for fewer than {self._records} articles: {few}." if few else ""

    def texts(self) -> dict[str, list[str]]:
        """All training articles."""
        folders = sorted(folder for folder in (self._data / "C50train").iterdir() if folder.is_dir())
        return {_user(folder.name): [_read(path) for path in _articles(folder)] for folder in folders}

    def people(self, *, split: Split | None = None) -> dict[str, list[Sample]]:
        """All training articles of each author."""
        train = self._data / "C50train"
        return {
            _user(author): [_record(author, path) for path in _articles(train / author)]
            for author, dev in self._authors().items()
            if split in {None, "dev" if dev else "test"}
        }

    def _authors(self) -> dict[str, bool]:
        """All authors by name, and whether each is of the split ``dev``: the first half, used in development."""
        train, test = self._data / "C50train", self._data / "C50test"
        if not train.is_dir() or not test.is_dir():
            raise InputError(
                f"{self._data}: there is no C50train or no C50test in this folder.",
                remedy="Give the folder of the Reuters C50 corpus with --data.",
            )
        authors = sorted(folder.name for folder in train.iterdir() if (test / folder.name).is_dir())
        return {author: number < len(authors) // 2 for number, author in enumerate(authors)}

    def _all(self, seed: int) -> Iterator[Case]:
        train, test = self._data / "C50train", self._data / "C50test"
        for author, dev in self._authors().items():
            draw = random.Random(f"{seed}/{author}")
            known, asked = _articles(train / author), _articles(test / author)
            if len(known) < self._records:
                continue
            records = tuple(_record(author, path) for path in draw.sample(known, self._records))
            for path in draw.sample(asked, min(self._cases_each, len(asked))):
                yield self._case(author, path, records, dev=dev)

    def _case(self, author: str, path: Path, records: tuple[Sample, ...], *, dev: bool) -> Case:
        article = _read(path).strip()
        lead = " ".join(article.split()[:_LEAD_WORDS])
        return Case(
            id=case_id(author, path.name),
            user=_user(author),
            cluster=author,
            prompt=_PROMPT.format(words=self._words, lead=lead),
            records=records,
            reference=article,
            dev=dev,
        )


def _record(author: str, path: Path) -> Sample:
    return Sample(user=_user(author), id=case_id(path.name), text=_read(path))


def _read(path: Path) -> str:
    """An article, with HTML entities unescaped."""
    return html.unescape(read_text(path))


def _user(author: str) -> str:
    return "".join(letter for letter in author if letter.isalnum())


def _articles(folder: Path) -> list[Path]:
    """Those that say something."""
    return [path for path in sorted(folder.glob("*.txt")) if read_text(path).strip()]
