"""Build ``programs/reward/default.json``: the features, and what is expected of people of whom nothing is known.

What is usual in texts comes from writers of the dev split (``make_reference.py`` says which) and from the contrasts
that ship; the tastes that people are expected to differ in come from the contrasts alone. No choice of a benchmark and
nobody of a test split is read.

    python benches/make_population.py            # measure, and write the shipped file
    python benches/make_population.py --omit summaries --to FILE     # without a collection, to test on it
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benches.make_reference import collect
from hyperalign.backends.models.encoders import DEFAULT_ENCODER, open_encoder
from hyperalign.files import write_whole
from hyperalign.programs.reward.directions import learn_directions, load_contrasts, read_contrasts
from hyperalign.programs.reward.empirical_bayes import estimate_context
from hyperalign.programs.reward.features import (
    EDIT_FEATURES,
    Encoder,
    FeatureSpace,
    Reading,
    build_feature_space,
    read_features,
)
from hyperalign.programs.reward.population import RewardPopulation, adapt_to_encoder
from hyperalign.programs.reward.posterior import Array, Context, Prior
from hyperalign.style.parsed import load_function_words

TARGET = Path(__file__).resolve().parent.parent / "programs" / "reward" / "default.json"
TEXTS_EACH = 12
PROMPTS = {"news": "Write a news article.", "summaries": "Summarize a story.", "speeches": "Give a speech."}
# What people open, close and soften a message with, beside function words.
COURTESY = (
    "please thank thanks dear hi hello hey regards best sincerely would could can appreciate kindly sorry hope look "
    "forward let know just really great good want need like"
)
WORD_COMPONENTS = 20
LEAST_SHARED = 0.05


def people(omit: str) -> dict[str, dict[str, list[Reading]]]:
    """Texts of dev writers, by genre and person."""
    return {
        genre: {
            person: [Reading(PROMPTS[genre], text) for text in texts[:TEXTS_EACH]] for person, texts in found.items()
        }
        for genre, found in collect().items()
        if genre != omit
    }


def context(space: FeatureSpace, genres: dict[str, dict[str, list[Reading]]], encoder: Encoder) -> Context:
    """The mean over genres, the covariance of one person's texts in any of them, and that of the genres' means."""
    means: list[Array] = []
    texts: list[Array] = []
    for found in genres.values():
        rows = [read_features(space, readings, encoder) for readings in found.values()]
        means.append(np.mean([each.mean(axis=0) for each in rows], axis=0))
        texts += [each - means[-1] for each in rows]
    answers = [Reading(each.prompt, text) for each in load_contrasts() for text in (each.high, each.low)]
    means.append(read_features(space, answers, encoder).mean(axis=0))
    spread = np.cov(np.array(means).T)
    # Four genres say little of how features go together.
    shared = (spread + np.diag(np.maximum(np.diag(spread), LEAST_SHARED))) / 2
    return Context(np.mean(means, axis=0), estimate_context(texts).within, shared)


def of_edits(space: FeatureSpace, texts: Context) -> Context:
    """Corrections of which nothing is known: no change, and as noisy as texts are."""
    within = texts.within.copy()
    for name in EDIT_FEATURES:
        within[space.names.index(name), space.names.index(name)] = 1.0
    return Context(np.zeros(len(within)), within, texts.shared)


def main() -> None:
    """Build and write the population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omit", default="", help="a genre to leave out")
    parser.add_argument("--to", type=Path, default=TARGET, help="the file to write")
    options = parser.parse_args()
    encoder = open_encoder(DEFAULT_ENCODER)
    genres = people(options.omit)
    contrasts = [Reading(each.prompt, text) for each in load_contrasts() for text in (each.high, each.low)]
    collections = [[text for texts in found.values() for text in texts] for found in genres.values()]
    words = tuple(dict.fromkeys([*sorted(load_function_words()), *COURTESY.split()]))
    space = build_feature_space(
        [contrasts, *collections],
        words,
        word_components=WORD_COMPONENTS,
        sources=("contrasts that ship (written for this project)", *(f"{genre}: dev writers" for genre in genres)),
    )
    size = len(space.names)
    flat = Context(np.zeros(size), np.eye(size))
    bare = RewardPopulation("default", space, Prior(np.zeros(size), np.eye(size), {"text": flat, "edit": flat}))
    full = adapt_to_encoder(bare, encoder)
    texts = context(full.space, genres, encoder)
    contexts = {"text": texts, "edit": of_edits(full.space, texts)}
    made = replace(full, prior=replace(full.prior, contexts=contexts))
    write_whole(options.to, made.to_json())
    agreed = [each.agreement for each in made.directions.values()]
    print(f"{options.to}: {len(made.space.names)} features, {options.to.stat().st_size / 1e3:.0f} kB")
    print(f"{sum(each == 1.0 for each in agreed)} of {len(agreed)} directions order all held-out contrasts rightly")
    bare_directions = learn_directions(read_contrasts(space))
    print(f"without the encoder: {sum(each.agreement == 1.0 for each in bare_directions.values())}")
    print(f"trace of expected tastes: {np.trace(made.prior.covariance):.2f}")


if __name__ == "__main__":
    main()
