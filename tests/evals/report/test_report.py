"""The report is one file that loads nothing, says its warnings first, and takes what people wrote for text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from hyperalign.cli.eval import writing_tables
from hyperalign.errors import InputError
from hyperalign.evals import Plan, evaluate, write_report
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import CONTROLS
from hyperalign.evals.report.view import format_difference, load_view
from hyperalign.evals.runner import Outcome
from hyperalign.evals.tasks import load_task
from tests.evals.small_task import (
    FirstWords,
    Given,
    GivenTexts,
    answered,
    finished,
    jsonl,
    pairs,
    personalizer,
    samples,
)
from tests.fixtures.scripted_server import ScriptedServer, reply

TASK = Given([])
HOSTILE = (
    "<script>alert(1)</script></svg></p></article><img src=http://evil.example/x onerror=alert(1)> \"quotes' & "
    "&lt;b&gt; {{ 7*7 }} {% raw %} | a | b |\n| - | - |\n# Heading\n```\ncode\n```\n====\n"
    "[link](http://evil.example) **bold** `tick`"
)
VOID = {"br", "circle", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """Reads a page strictly: every tag that opens closes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def loads_nothing(page: Page, html: str) -> None:
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [
        name for name, _ in page.attributes if name in {"src", "href", "srcset", "style"} or name.startswith("on")
    ]
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:|expression", style)
    assert any(name == "content" and value.startswith("default-src 'none'") for name, value in page.attributes)


def charts_in(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg .*?</svg>", html, re.DOTALL)]


def scored(case: str, user: str, margin: float = 0.0, **scores: float) -> Outcome:
    """A choice, with accuracies by condition and what ``verified`` added to its margin."""
    bare = {"total": 0.0, "mean": 0.0}
    return Outcome(
        case,
        user,
        user,
        {
            "prompt": f"Prompt of {case}",
            "chosen": f"Chosen in {case}",
            "rejected": f"Rejected in {case}",
            "margins": {"none": bare, "verified": {"total": margin, "mean": margin}},
            "context": {"verified": [{"role": "user", "content": f"Said in {case}\n…"}]},
            "scores": {condition.replace("_", "-"): {"accuracy": value} for condition, value in scores.items()},
        },
    )


USERS = [f"u{number}" for number in range(8)]
PLAIN = [
    scored(
        f"c{number}", user, margin=(number - 3) / 10, verified=float(number > 3), wrong_user=0.5, **{"vote-length": 1.0}
    )
    for number, user in enumerate(USERS)
]


def reported(folder: Path, outcomes: Sequence[Outcome], task: Given = TASK, **settings: Any) -> tuple[str, str]:
    """Markdown and page of a run with these outcomes."""
    written = write_report(finished(folder, task, outcomes, **settings))
    assert [path.name for path in written] == ["report.md", "report.html"]
    markdown, html = (path.read_text() for path in written)
    loads_nothing(Page(html), html)
    charts_in(html)
    return markdown, html


def test_a_run_is_told_whole(tmp_path: Path) -> None:
    markdown, html = reported(tmp_path / "run", PLAIN, usage={}, seed=7)
    for text in (markdown, html):
        assert "Not shown to help: it does not beat vote-length" in text
        assert "8 cases" in text
        assert "seed 7" in text
        assert "Invented." in text
        assert "Only" not in text
    assert len(charts_in(html)) == 2, "a forest plot, and the people"
    page = Page(html)
    assert page.tags.count("article") == 6
    assert "50 %" in markdown
    assert markdown.startswith("# given\n")
    assert write_report(tmp_path / "run")[1].read_text() == html, "the same run, the same report"


def test_the_way_to_gold_is_told_where_there_is_gold(tmp_path: Path) -> None:
    conditions = ({"verified": float(n > 3), "verified@4": float(n > 2), "gold": float(n > 1)} for n in range(8))
    golden = [scored(f"c{n}", user, **found) for n, (user, found) in enumerate(zip(USERS, conditions, strict=True))]
    markdown, html = reported(tmp_path / "run", golden)
    rows = [line.split(" |")[:2] for line in markdown.splitlines() if line.startswith("| verified")]
    # Gold is not told from chance by eight people: nothing is said of how sure the ratio is.
    assert ["| verified", " 0 %"] in rows
    assert ["| verified, 4 records", " 50 %"] in rows
    assert "Fraction of the gap to gold" in html
    assert "gap between chance and gold" not in reported(tmp_path / "none", PLAIN)[0]


@pytest.mark.parametrize("off", [("votes",), ("none", "wrong-user", "inverted", "votes", "gold")])
def test_controls_that_are_off_stand_first(tmp_path: Path, off: Sequence[str]) -> None:
    on = [control for control in CONTROLS if control not in off]
    markdown, html = reported(tmp_path / "run", PLAIN, controls=on)
    said = f"Disabled controls: {', '.join(off)}."
    assert said in markdown.splitlines()[0]
    body = Page(html[html.index("<body>") :].replace("</html>", ""))
    assert said in "".join(body.texts).strip().splitlines()[0]


def test_errors_and_few_people_are_warned_of_and_named(tmp_path: Path) -> None:
    broken = Outcome("e1", "u9", "u9", {}, "ModelServerError: <b>It</b> hung up | `twice`.")
    broken.result["replies"] = {"asked": 12, "undecided": 2}
    markdown, html = reported(tmp_path / "run", [*PLAIN[:3], broken])
    first = markdown.splitlines()[0]
    assert "2 of 12 replies of the model decided nothing" in first
    assert "1 case(s) ended in an error" in first
    assert "Only 3 clusters" in first
    assert "case e1: ModelServerError: &lt;b&gt;It&lt;/b&gt; hung up | `twice`." in html
    rendered = MarkdownIt().enable("table").render(markdown)
    assert "case e1: ModelServerError: &lt;b&gt;It&lt;/b&gt; hung up | `twice`." in rendered


def test_worst_and_best_are_told_with_what_decided(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    markdown, html = reported(folder, PLAIN)
    view = load_view(folder)
    assert view.main == "verified"
    assert [case.user for case in view.worst] == ["u0", "u1", "u2"]
    assert [case.user for case in view.best] == ["u7", "u6", "u5"]
    assert [title for title, _ in view.worst[0].sides] == ["preferred", "rejected"]
    assert view.worst[0].effect == "margin -0.300 nats per token"
    assert view.worst[0].context == "Said in c0", "without the place of the prompt"
    for text in ("Prompt of c7", "Chosen in c7", "Rejected in c7", "Said in c7", "margin +0.400 nats per token"):
        assert text in html
    assert "Prompt of c3" not in html, "nothing changed there"
    assert (
        markdown.index("Where it harmed most") < markdown.index("Said in c0") < markdown.index("Where it helped most")
    )


def test_what_helped_is_never_told_as_harm(tmp_path: Path) -> None:
    helped = [scored(f"c{n}", f"u{n}", margin=0.1 + n, verified=1.0) for n in range(6)]
    view = load_view(finished(tmp_path / "a", TASK, helped))
    assert (len(view.worst), len(view.best)) == (0, 3)
    harmed = [scored(f"c{n}", f"u{n}", margin=-0.1 - n, verified=0.0) for n in range(2)]
    view = load_view(finished(tmp_path / "b", TASK, harmed))
    assert ([case.user for case in view.worst], len(view.best)) == (["u1", "u0"], 0)
    _, html = reported(tmp_path / "c", helped)
    assert "Where it harmed most" not in html


def test_answers_by_letter_have_no_margin_and_are_held_against_chance(tmp_path: Path) -> None:
    outcomes = [
        Outcome(
            f"c{n}", user, user,
            {"prompt": "p", "chosen": "c", "rejected": "r", "scores": {"program": {"accuracy": float(n % 2)}}},
        )
        for n, user in enumerate(USERS)
    ]  # fmt: skip
    folder = tmp_path / "run"
    _, html = reported(folder, outcomes)
    view = load_view(folder)
    assert view.main == "program"
    assert {case.user for case in view.worst} <= {"u0", "u2", "u4", "u6"}
    assert {case.effect for case in view.worst} == {"accuracy -0.5"}
    assert {case.effect for case in view.best} == {"accuracy +0.5"}
    assert "nats per token" not in html


# What people and models wrote


def hostile_outcomes() -> list[Outcome]:
    found = {
        "prompt": HOSTILE,
        "chosen": f"chosen {HOSTILE}",
        "rejected": f"rejected {HOSTILE}",
        "margins": {"none": {"total": 0.0, "mean": 0.0}, "verified": {"total": 1.0, "mean": 1.0}},
        "context": {"verified": [{"role": "system", "content": HOSTILE}, {"role": "user", "content": "…"}]},
        "scores": {"verified": {"accuracy": 1.0}, HOSTILE: {"accuracy": 0.5}},
    }
    return [Outcome(f"c{n}", HOSTILE if n else "ada", f"u{n}", found) for n in range(8)] + [
        Outcome("e", "ada", "ada", {}, f"ModelServerError: {HOSTILE}")
    ]


def test_hostile_texts_are_text_in_the_page(tmp_path: Path) -> None:
    task = Given([], name=HOSTILE)
    _, html = reported(tmp_path / "run", hostile_outcomes(), task, model=HOSTILE)
    page = Page(html)
    text = "".join(page.texts)
    assert text.count("<script>alert(1)</script></svg></p></article>") >= 5, "shown as it was written"
    assert "{{ 7*7 }} {% raw %}" in text
    assert "49" not in re.findall(r"\b\d+\b", text)
    for chart in charts_in(html):
        assert any(HOSTILE.split("\n")[0] in "".join(part.itertext()) for part in chart)
        assert {part.tag for part in chart.iter()} <= {"svg", "line", "text", "circle", "polyline"}


def test_hostile_texts_are_text_in_markdown(tmp_path: Path) -> None:
    task = Given([], name=HOSTILE)
    markdown, _ = reported(tmp_path / "run", hostile_outcomes(), task)
    rendered = MarkdownIt().enable("table").render(markdown)
    plain, _ = reported(tmp_path / "plain", PLAIN)
    ours = set(re.findall(r"<(\w+)", MarkdownIt().enable("table").render(plain)))
    assert set(re.findall(r"<(\w+)", rendered)) <= ours | {"ul", "li", "strong"}
    headings = re.findall(r"<h[1-6]>(.*?)</h[1-6]>", rendered)
    assert "Heading" not in headings
    assert not any(text == "code" for text in re.findall(r"<code>(.*?)</code>", rendered, re.DOTALL))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in rendered
    assert "[link](http://evil.example) **bold** `tick`" in rendered
    # Tables keep their columns, whatever a condition is called.
    for table in re.findall(r"<table>.*?</table>", rendered, re.DOTALL):
        rows = [len(re.findall("<t[hd]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
        assert len(set(rows)) == 1


# Odd runs


def test_one_cluster_has_no_interval_and_is_told_all_the_same(tmp_path: Path) -> None:
    markdown, html = reported(tmp_path / "run", [scored("c", "ada", margin=0.2, verified=1.0, gold=1.0)])
    assert "| verified | 100 % |" in markdown
    assert not re.search(r"\d to ", markdown[markdown.index("## Results") : markdown.index("## Differences")])
    (plot, *_) = charts_in(html)
    assert not [part for part in plot if "whisker" in part.get("class", "")]
    assert len([part for part in plot if part.tag == "circle"]) == 2


def test_a_run_without_any_score_is_told_as_that(tmp_path: Path) -> None:
    markdown, html = reported(tmp_path / "run", [Outcome("e", "ada", "ada", {}, "ModelServerError: no.")])
    assert "1 case(s) ended in an error" in markdown.splitlines()[0]
    assert charts_in(html) == []
    assert "case e: ModelServerError: no." in html


def test_curves_and_questions_are_told_where_there_are_some(tmp_path: Path) -> None:
    outcomes = [
        scored(
            f"{user}-{kind}", user, margin=0.1, verified=1.0, none=0.0,
            **{"verified@1": float(n % 2), "verified@4": 1.0, "few-shot@1": 0.5, "few-shot": 0.5},
        )
        for n, user in enumerate(USERS)
        for kind in "dp"
    ]  # fmt: skip
    markdown, html = reported(tmp_path / "run", outcomes, divergent=[f"{user}-d" for user in USERS])
    assert "Personal and divergent questions" in html
    assert "## Personal and divergent questions" in markdown
    assert "| verified | 1 | 50 % (" in markdown
    line = charts_in(html)[-1]
    assert [part.get("class") for part in line if part.tag == "polyline"] == ["curve line-0", "curve line-1"]
    assert "records learned from" in "".join(line.itertext())


def test_a_writing_run_is_told(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    scripted_server.default = reply(answered)
    task = load_task(str(jsonl(tmp_path / "texts.jsonl", samples())))
    plan = Plan(("few-shot", "verified"), curve=(2,))
    result = evaluate(personalizer(scripted_server), task, plan=plan, out=tmp_path / "run")
    markdown_file, html_file = write_report(result.folder)
    markdown, html = markdown_file.read_text(), html_file.read_text()
    loads_nothing(Page(html), html)
    assert "author log-probability" in markdown
    assert "the judges name the author of: style classifier 100 %" in html
    assert "the judges name the author of: style classifier 100 %" in markdown
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    judged, said = (next(t for t in tables if name in t.splitlines()[0]) for name in ("| judge |", "on topic"))
    conditions = list(result.summary["conditions"])
    names = ["style classifier", "character classifier", "language model", "Burrows' Delta"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in judged.splitlines()[2:]]
    assert [row[:2] for row in cells] == [[condition, name] for condition in conditions for name in names]
    own = next(row for row in cells if row[0] == "own-text")
    assert own[2] and own[3:] == ["", "", "", ""], "nothing is compared with what the person wrote"
    assert next(row for row in cells if row[0] == "verified")[5], "wins over another user's profile"
    (few_shot,) = (line for line in said.splitlines() if line.startswith("| few-shot |"))
    (verified,) = (line for line in said.splitlines() if line.startswith("| verified |"))
    assert few_shot.count(";") == 0 < verified.count(";")
    assert re.search(r"- verified: nearer to the author than none by \d of 4 judges, than few-shot by", markdown)
    for text in (markdown, html):
        assert text.count("longest copied run") == 1, "what has a table of its own is not in the other"
    assert "Only 2 clusters" in markdown.splitlines()[0]
    assert "does not support" not in markdown.splitlines()[0]
    told = dict(re.findall(r"- \*\*(.*?)\*\*: (.*)", markdown))
    assert "Another user's profile was tried with verified only" in told["few-shot"]
    assert "tried with" not in told["verified"]
    assert len(charts_in(html)) == 6, "four plots, the people, and a curve"
    view = load_view(result.folder)
    for case in [*view.worst, *view.best]:
        titles = [title for title, _ in case.sides]
        assert (titles[0], titles[-1]) == ("no profile", "what the person wrote")
    judged_table, content_table = writing_tables(view)
    shown = [list(column.cells) for column in judged_table.columns]
    assert set(shown[0]) == {"few-shot", "verified"}, "strategies alone"
    assert shown[1][:4] == names
    assert re.fullmatch(r"\d+\u202f% \(.*\)|\d+\u202f%", shown[2][0])
    assert list(content_table.columns[0].cells) == list(view.content)


def test_writing_without_a_bare_answer_has_nothing_to_be_called_harm(tmp_path: Path) -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    found = {"prompt": "p", "reference": "r", "answers": {}, "scores": {"verified": {"author_logprob": -2.0}}}
    outcomes = [Outcome(user, user, user, found) for user in USERS]
    _, html = reported(tmp_path / "run", outcomes, task, controls=[])
    view = load_view(tmp_path / "run")
    assert (list(view.worst), list(view.best)) == ([], [])
    assert "There is no control to compare with." in html


def test_a_strategy_without_a_wrong_user_is_not_shown_to_help(tmp_path: Path) -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    means = {"few-shot": -0.1, "verified": -0.2, "none": -0.9, "wrong-user": -0.8}
    scores = {condition: {"author_logprob": mean} for condition, mean in means.items()}
    found = {"prompt": "p", "reference": "r", "answers": {}, "scores": scores}
    markdown, html = reported(tmp_path / "run", [Outcome(user, user, user, found) for user in USERS], task)
    verdicts = dict(load_view(tmp_path / "run").verdicts)
    assert verdicts["verified"].startswith("Helps: it beats every control in this run")
    assert verdicts["few-shot"] == (
        "Beats the other controls (p = 0.008, closest: none). "
        "Another user's profile was tried with verified only, so no other strategy can be shown to help."
    )
    assert verdicts["few-shot"] in markdown
    assert verdicts["few-shot"] in "".join(Page(html).texts)


def test_any_program_s_run_is_told(tmp_path: Path) -> None:
    task = load_task(str(jsonl(tmp_path / "choices.jsonl", pairs())))
    result = evaluate(FirstWords(), task, out=tmp_path / "run")
    markdown, html = (path.read_text() for path in write_report(result.folder))
    loads_nothing(Page(html), html)
    said = "Controls that such a program does not support: none, inverted, gold."
    assert said in markdown.splitlines()[0]
    assert said in html
    assert load_view(result.folder).main == "program"


def test_without_a_summary_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file") as refused:
        write_report(tmp_path)
    assert "finished eval" in str(refused.value.remedy)
    assert list(tmp_path.glob("report.*")) == []


def test_a_difference_of_shares_is_cut_where_none_can_be() -> None:
    found = {"mean": 0.5, "low": -0.375, "high": 1.375}
    assert format_difference("accuracy", found) == "+50 points (-38 to +100)"
    assert format_difference("author_log_probability", found) == "+0.50 (-0.38 to +1.38)"
