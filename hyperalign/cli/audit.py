"""``hyperalign audit``: test statements about a user that come from elsewhere on the user's own records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
    JsonOption,
    ModelOptions,
    PopulationOption,
    RedactOption,
    ScorerOption,
    SkipBad,
    StoreOption,
    UserOption,
    model_options,
)
from .records import AsOption, ColumnsOption, MeOption, read_files
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.programs.audit import Finding
    from hyperalign.records import Record
    from hyperalign.store import Store

__all__ = ["audit", "read_statements"]

_VERDICTS = ("holds", "contradicted", "not shown")
# Where exports of memories keep the sentence, the first that is there.
_KEYS = ("memory", "statement", "content", "text")
_LISTS = ("results", "memories", "statements")


@model_options()
def audit(
    statements: Annotated[
        Path,
        typer.Argument(help="Statements about the user: a text file with one per line, or a JSON list of memories."),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Records: files of any known format, or folders. Default: those in the store."),
    ] = None,
    user: UserOption = None,
    me: MeOption = None,
    as_format: AsOption = None,
    columns: ColumnsOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    encoder: EncoderOption = None,
    population: PopulationOption = None,
    store: StoreOption = None,
    skip_bad: SkipBad = False,
    redact: RedactOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test statements from elsewhere, such as another tool's memory, a form or a colleague, on what a user wrote, chose
    or corrected: each holds, is contradicted, or is not shown.

    Example: hyperalign audit memories.txt records.jsonl --user mira
    """
    import dspy

    from hyperalign.population import choose_reference_records
    from hyperalign.privacy import find_redactor
    from hyperalign.programs.audit import Audit
    from hyperalign.programs.fitting import REFERENCE_RECORDS
    from hyperalign.programs.replies import tally_answers
    from hyperalign.records import are_choices, split_by_kind
    from hyperalign.store import Store

    from .session import choose_encoder, choose_population, open_models, redact_records
    from .terminal import print_json, report_passed_over, report_undecided, reporter

    said = read_statements(statements)
    redactor = find_redactor(redact)
    said = said if redactor is None else [redactor(each) for each in said]
    budget = models.new_budget()
    with Store(store) as opened:
        if files:
            reading = read_files(files, user=user, me=me, as_format=as_format, columns=columns, skip_bad=skip_bad)
            records = redact_records(reading.records, redact)
        else:
            records = _stored_records(opened, user)
        others = choose_population(population, records[0].user, opened, records, redact=redact)
    against = [
        other
        for some in split_by_kind(records)
        for other in choose_reference_records(others, records[0].user, some, REFERENCE_RECORDS)
    ]
    with reporter(quiet=as_json) as report, budget.step("audit"), tally_answers() as tally:
        lm, reads = open_models(models, scorer, budget, report)
        embeds = choose_encoder(encoder, budget, report) if any(are_choices([each]) for each in records) else None
        with dspy.context(lm=lm):
            program = Audit(reads, encoder=embeds)
            audit = program(statements=said, records=records, others=against, progress=report)
    found = audit.findings
    report_undecided(tally.asked, tally.undecided)
    report_passed_over(audit.skipped)
    if as_json:
        print_json({"user": records[0].user, "findings": [_told(each) for each in found]})
        return
    for line in _lines(found):
        echo(line)


def read_statements(path: Path) -> list[str]:
    """The statements of a text file, without the marks of a list, or of a JSON export of memories.

    Args:
        path: one statement a line, or JSON: a list of strings or of objects, which may stand under ``results``.

    Raises:
        InputError: the file can't be read, or holds no statement.
    """
    import json
    import re

    from hyperalign.errors import InputError
    from hyperalign.ingest import read_text

    text = read_text(path)
    if path.suffix.lower() == ".json":
        try:
            found = list(_strings(json.loads(text)))
        except ValueError as error:
            raise InputError(f"{path}: {error}.", remedy="Give JSON, or a text file with one per line.") from error
    else:
        found = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip() for line in text.splitlines()]
    found = [each for each in found if each]
    if not found:
        raise InputError(f"{path}: there is no statement.", remedy="Write one statement about the user on each line.")
    return found


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield " ".join(data.split())
    elif isinstance(data, list):
        for each in data:
            yield from _strings(each)
    elif isinstance(data, dict):
        named = next((data[key] for key in (*_LISTS, *_KEYS) if isinstance(data.get(key), str | list)), None)
        if named is not None:
            yield from _strings(named)


def _stored_records(store: Store, user: str | None) -> list[Record]:
    from hyperalign.errors import InputError, NotFoundError
    from hyperalign.records import check_user

    if user is None:
        raise InputError("There is nothing to read.", remedy="Name files with records, or --user NAME.")
    if not (known := store.records(check_user(user))):
        raise NotFoundError(f"The store has no records of {user!r}.", remedy="Name files with records.")
    return known


def _told(finding: Finding) -> dict[str, Any]:
    test = finding.test
    return {
        "statement": finding.statement,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "opposite": finding.opposite,
        "test": test.model_dump(mode="json") if test else None,
        "evidence": [each.model_dump(mode="json") for each in finding.evidence],
    }


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for a person to read: what holds first, each with its figure and a quote."""
    from hyperalign.text import plain

    for finding in sorted(findings, key=lambda each: (_VERDICTS.index(each.verdict), -abs(each.strength))):
        yield f"{finding.verdict:<14}{plain(finding.statement, 100)}"
        figure = ""
        if test := finding.test:
            figure = (
                f"{test.gain:+.2f} ({test.low:+.2f} to {test.high:+.2f}), q {test.q:.2f}, {len(test.records)} records"
            )
        yield f"{'':14}{'; '.join(part for part in (figure, plain(finding.reason)) if part)}"
        for each in finding.evidence[:1]:
            yield f"{'':14}“{plain(each.quote, 90)}”"
    counts = {verdict: sum(each.verdict == verdict for each in findings) for verdict in _VERDICTS}
    yield ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
