"""Build ``hyperalign/style/reference.json`` from writers of the dev split, and check claims on held-out texts.

Only the dev half of each collection is read; no figure about a writer of the test half may depend on these numbers.

    python benches/make_reference.py --write      # measure, and write the shipped file
    python benches/make_reference.py --check      # do claims from 8 texts hold on the next ones?
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from hyperalign.evals.tasks.squality import Squality
from hyperalign.files import write_whole
from hyperalign.style import Source, build_reference, cut_excerpt, find_claims, measure
from hyperalign.style.parsed import sentence_ends
from hyperalign.style.reference import EXCERPT_WORDS

HERE = Path(__file__).resolve().parent.parent
DATA = HERE.parent / "shared" / "data"
TARGET = HERE / "hyperalign" / "style" / "reference.json"
# The first half of the collection's 50 authors in byte order ends here, whichever of them are on this disk.
LAST_C50_AUTHOR = "KirstinRidley"
MAX_TEXTS = 40
MIN_TEXTS = 8
MIN_LATER = 4
# This collection's files lost their line breaks.
OMIT = {"speeches": ["paragraph_words"]}
MIN_WORDS = 100

People = dict[str, list[str]]


def is_dev(name: str) -> bool:
    """Whether a writer is in the dev half: an even SHA-256 of the name."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2 == 0


def usable(texts: Iterator[str]) -> list[str]:
    """The first excerpts that are long enough."""
    cut = (cut_excerpt(text) for text in texts)
    return [text for text in cut if len(text.split()) >= MIN_WORDS][:MAX_TEXTS]


def news() -> People:
    """Reuters C50: the opening of each training article of the first half of the authors."""
    folders = sorted(path for path in (DATA / "reuters_c50" / "C50train").iterdir() if path.name <= LAST_C50_AUTHOR)
    return {
        folder.name: usable(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.txt")))
        for folder in folders
    }


def summaries() -> People:
    """SQuALITY: the summaries by the writers in the dev split of the eval."""
    folder = DATA / "squality" / "v1-3" / "txt"
    # The split of the eval itself, so that no writer of its test split gets in.
    dev = {case.user for case in Squality(folder).cases() if case.split == "dev"}
    found: People = {}
    for file in ("train.jsonl", "dev.jsonl"):
        for line in (folder / file).read_text(encoding="utf-8").splitlines():
            for question in json.loads(line)["questions"]:
                for response in question["responses"]:
                    if (writer := f"writer-{response['worker_id']}") in dev:
                        found.setdefault(writer, []).append(response["response_text"])
    return {writer: usable(iter(texts)) for writer, texts in sorted(found.items())}


def excerpts(speech: str, count: int) -> list[str]:
    """Excerpts from places spread over a speech, each starting at a sentence."""
    starts = [0, *sentence_ends(speech)]
    places = sorted({starts[index * len(starts) // count] for index in range(count)})
    return [cut_excerpt(speech[place : place + 3000]) for place in places]


def speeches() -> People:
    """State of the Union addresses since 1945, by the presidents of the dev half."""
    found: People = {}
    with (DATA / "sotu" / "meta.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if int(row["year"]) >= 1945 and is_dev(row["name"]):
                speech = (DATA / "sotu" / row["file"]).read_text(encoding="utf-8", errors="replace")
                found.setdefault(row["name"], []).extend(excerpts(speech, 8))
    return {name: usable(iter(texts)) for name, texts in sorted(found.items())}


def collect() -> dict[str, People]:
    """All dev writers with enough text, by genre."""
    genres = {"news": news(), "summaries": summaries(), "speeches": speeches()}
    return {
        genre: {person: texts for person, texts in people.items() if len(texts) >= MIN_TEXTS}
        for genre, people in genres.items()
    }


def sources(genres: Mapping[str, People]) -> list[Source]:
    """The description of the collections in the shipped file."""
    about = {
        "news": (
            "Reuters C50 (UCI Reuter_50_50), C50train",
            f"dev: authors up to {LAST_C50_AUTHOR} in byte order, the first half of the 50; "
            "test: the later half, never used here",
        ),
        "summaries": (
            "SQuALITY v1.3, human summaries (CC BY 4.0)",
            "dev: the writers of that split in the eval squality; test: the others, never used here",
        ),
        "speeches": (
            "State of the Union addresses, 1945 and later (CC0)",
            "dev: presidents whose name has an even SHA-256; test: the odd half, never used here",
        ),
    }
    return [
        Source(
            name=about[genre][0],
            genre=genre,
            people=len(people),
            texts=sum(map(len, people.values())),
            split=about[genre][1],
        )
        for genre, people in genres.items()
    ]


def check(genres: Mapping[str, People], *, seed: int = 0, shown: int = 8) -> None:
    """Make claims on some texts and look at the person's next ones, and at other people's of the same genre.

    The person is left out of the reference, so that nobody is compared with themselves.
    """
    rng = random.Random(seed)
    for scope in ("all genres as the reference", "only the same genre as the reference"):
        print(f"\n{scope}: claims from {shown} texts, held out texts of {EXCERPT_WORDS} words")
        print(f"{'genre':10} people claims  crowd  own hold    others own>other same sign")
        for genre in genres:
            print(check_genre(genre, genres, alone=scope.startswith("only"), rng=rng, shown=shown))


def check_genre(genre: str, genres: Mapping[str, People], *, alone: bool, rng: random.Random, shown: int) -> str:
    """One line of the table: shares of claims that hold on own and others' texts, and of pairs that the own wins."""
    people = genres[genre]
    own, others, wins, signs, counts, nulls = [], [], [], [], [], []
    for person, texts in people.items():
        rest = {name: values for name, values in people.items() if name != person}
        if len(texts) < shown + MIN_LATER:
            continue
        reference = build_reference({genre: rest} if alone else {**genres, genre: rest}, omit=OMIT)
        order = rng.sample(texts, len(texts))
        made = find_claims(order[:shown], reference)
        counts.append(len(made))
        # Nobody in particular: one text each of different people. What is claimed of them is noise (or genre).
        crowd = rng.sample(sorted(rest), min(shown, len(rest)))
        nulls.append(len(find_claims([rng.choice(rest[name]) for name in crowd], reference)))
        later = [measure(text) for text in order[shown:]]
        strangers = [measure(text) for values in rest.values() for text in rng.sample(values, min(4, len(values)))]
        for claim in made:
            mine, theirs = [claim.holds(row) for row in later], [claim.holds(row) for row in strangers]
            own.append(fmean(score > 0 for score in mine))
            others.append(fmean(score > 0 for score in theirs))
            wins.append(fmean((a > b) + (a == b) / 2 for a in mine for b in theirs))
            signs.append(float(fmean(mine) > 0))
    columns: Sequence[float] = [fmean(values) if values else float("nan") for values in (own, others, wins, signs)]
    figures = " ".join(f"{100 * value:8.1f}%" for value in columns)
    return f"{genre:10} {len(people):6} {fmean(counts):6.1f} {fmean(nulls):6.1f} {figures}"


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the shipped reference")
    parser.add_argument("--check", action="store_true", help="check claims on held-out texts")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there", file=sys.stderr)
        return 0
    genres = collect()
    for source in sources(genres):
        print(f"{source.genre}: {source.people} people, {source.texts} texts")
    if options.write:
        write_whole(
            TARGET, build_reference(genres, sources=sources(genres), omit=OMIT).model_dump_json(indent=1) + "\n"
        )
        print(f"wrote {TARGET.relative_to(HERE)}")
    if options.check:
        check(genres)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
