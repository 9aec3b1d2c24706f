"""Renders a profile on a terminal: what predicts, its statements, their evidence and how sure they are.

What users and models wrote goes into ``Text`` objects, so that square brackets are no markup, and through ``plain``, so
that no escape sequence reaches the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hyperalign.text import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from hyperalign.profile import Evidence, Hypothesis, LearnedReward, Profile, TestResult

__all__ = ["counted", "render_diff", "render_profile"]

STYLE_ROWS = 6
FEATURE_ROWS = 5
PREFERENCE_ROWS = 5
EXAMPLE_ROWS = 3
DROPPED_ROWS = 4
MIN_WIDTH_FOR_TABLE = 24
_WEIGHT_CELLS = 5
_QUOTE_CHARS = 110
_EXAMPLE_CHARS = 220

_NO_PREFERENCES = "None: it takes three choices (pairs, edits or ratings), and some of other people's to compare with."
_UNITS = {"likelihood": "nats", "choice": "of choices", "direction": "contrasts", "measurement": "spreads"}


def render_profile(profile: Profile, *, show_all: bool = False, all_preferences: bool = False) -> RenderableType:
    """A profile for a person to read.

    Args:
        profile: the profile.
        show_all: show every dropped hypothesis, example, measured feature and quote, not the first few.
        all_preferences: show every preference with its quote, or say why there is none.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_headline(profile), Text()]
    for note in (profile.thin, _nothing_kept(profile)):
        if note:
            parts += [Text(note, style="yellow"), Text()]
    parts += _reward(profile.reward, show_all)
    if profile.hypotheses:
        parts.append(_hypotheses(profile.hypotheses, show_all))
    for title, lines in (
        ("Stated", [Text(f"  · {plain(text)}") for text in profile.stated]),
        ("Examples kept", [*_examples(profile, show_all)]),
        ("Preferences", [*_preferences(profile, show_all, all_preferences)]),
    ):
        if lines:
            parts += [Text(title, style="bold"), *lines, Text()]
    if profile.style:
        parts.append(_style(profile, show_all))
    for title, lines in (
        ("Taken out by hand", [Text(f"  {plain(', '.join(profile.silenced))}", style="dim")] * bool(profile.silenced)),
        (f"Dropped ({len(profile.dropped)})", [*_dropped(profile.dropped, show_all)]),
    ):
        if lines:
            parts += [Text(title, style="bold"), *lines, Text()]
    while isinstance(parts[-1], Text) and not parts[-1]:
        parts.pop()
    return Group(*parts)


def _nothing_kept(profile: Profile) -> str:
    if profile.is_empty and profile.reward is not None:
        return "No statement is kept; the reward predicts all the same." if profile.dropped else ""
    if profile.is_empty:
        return "Nothing is kept: answers to this person are the model's own."
    return "" if profile.hypotheses else "No hypothesis is kept."


def render_diff(lines: Sequence[str]) -> Text:
    """The lines of ``Profile.diff`` in color; says so where nothing changed."""
    from rich.text import Text

    if not lines:
        return Text("No difference.", style="dim")
    colors = {"+": "green", "-": "red", "~": "yellow"}
    return Text("\n").join(Text(plain(line), style=colors.get(line[:1], "")) for line in lines)


def _headline(profile: Profile) -> Text:
    from rich.text import Text

    origin = profile.provenance
    kept, dropped = len(profile.hypotheses), len(profile.dropped)
    line = Text(plain(profile.user), style="bold cyan")
    line.append(f"  {counted(kept, 'hypothesis', 'hypotheses')} kept, {dropped} dropped", style="not bold default")
    facts = [
        f"from {counted(len(origin.records), 'record', 'records')}" if origin.records else "",
        f"against {plain(origin.population, 60)}" if origin.population else "",
        f"by {plain(origin.model, 60)}" if origin.model else "",
        f"tested with {plain(origin.scorer, 60)}" if origin.scorer and origin.scorer != origin.model else "",
        f"{origin.created:%Y-%m-%d %H:%M}" if origin.created else "",
        f"{counted(origin.invented_quotes, 'hypothesis', 'hypotheses')} with invented quotes refused"
        if origin.invented_quotes
        else "",
    ]
    said = " · ".join(fact for fact in facts if fact)
    if said:
        line.append(f"\n{said}", style="not bold dim")
    return line


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun: ``1 record``, ``2 records``."""
    return f"{number} {one if number == 1 else many}"


def _reward(reward: LearnedReward | None, show_all: bool) -> Iterable[Text]:
    """How well the reward predicts, and its surest features in words."""
    from rich.text import Text

    if reward is None:
        return

    from hyperalign.programs.reward import say_feature
    from hyperalign.programs.reward.features import is_named

    line = Text("Reward", style="bold")
    line.append(f"  {plain(reward.predicts) or 'too few records to say how well it predicts'}", style="not bold")
    with_encoder = f", and by {plain(reward.encoder, 60)}" if reward.encoder else ""
    line.append(f"\nfrom {counted(len(reward.rows), 'record', 'records')}, by measured features{with_encoder}", "dim")
    yield line
    # What no record shows has a weight by its likeness to other features alone.
    read = {name for at, name in enumerate(reward.weights) if any(row.values[at] for row in reward.rows)}
    read |= {change.feature for change in reward.changes}
    named = {name: weight for name, weight in reward.weights.items() if is_named(name) and weight and name in read}
    surest = sorted(named, key=lambda name: (-abs(named[name]) / max(reward.spreads.get(name, 0.0), 1e-3), name))
    for name in surest if show_all else surest[:FEATURE_ROWS]:
        row = Text(f"  {named[name]:+.2f} ± {reward.spreads.get(name, 0.0):.2f}", style="dim")
        row.append(f"  {plain(say_feature(name, named[name]), 80)}", style="not dim").append(
            f"  {plain(name, 30)}", "dim"
        )
        yield row
    yield from (Text(f"  by hand: {plain(str(change))}", style="yellow") for change in reward.changes)
    yield Text()


def _table(*columns: tuple[str, str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False, expand=False)
    for title, justify in columns:
        wide = justify == "wide"
        table.add_column(
            title,
            justify="right" if justify == "right" else "left",
            no_wrap=not wide,
            ratio=1 if wide else None,
            min_width=MIN_WIDTH_FOR_TABLE if wide else None,
            overflow="fold",
        )
    return table


def _hypotheses(hypotheses: Sequence[Hypothesis], show_all: bool) -> Table:
    table = _table(("Hypothesis", "wide"), ("Gain, 90 %", "right"), ("q", "right"), ("Weight", "left"))
    for hypothesis in sorted(hypotheses, key=lambda h: -h.weight):
        gain, q = _tested(hypothesis.test)
        table.add_row(_statement(hypothesis, show_all), gain, q, _weight(hypothesis.weight))
        table.add_row()
    return table


def _statement(hypothesis: Hypothesis, show_all: bool) -> Text:
    from rich.text import Text

    is_example = hypothesis.kind == "example"
    cell = Text(plain(hypothesis.statement, _EXAMPLE_CHARS if is_example and not show_all else None))
    if is_example:
        cell.stylize("italic")
    scope = f", for: {plain(hypothesis.scope)}" if hypothesis.scope else ""
    cell.append(f" ({plain(hypothesis.aspect)}{scope})", style="not italic magenta")
    quotes = [item for item in hypothesis.evidence if item.supports] or hypothesis.evidence
    for item in quotes if show_all else quotes[:1]:
        cell.append("\n").append_text(_quote(item, None if show_all else _QUOTE_CHARS))
    return cell


def _quote(item: Evidence, limit: int | None) -> Text:
    from rich.text import Text

    mark = ("" if item.supports else "against: ") + ("turned down: " if item.turned_down else "")
    return Text(f"{mark}“{plain(item.quote, limit)}”", style="dim italic").append(
        f" {plain(item.record, 24)}", style="not italic dim"
    )


def _tested(test: TestResult | None) -> tuple[Text, Text]:
    from rich.text import Text

    if test is None:
        return Text("untested", style="yellow"), Text("")
    color = "green" if test.low > 0 else "red" if test.high < 0 else "yellow"
    gain = Text(f"{test.gain:+.3f}", style=f"bold {color}")
    gain.append(f"\n{test.low:+.3f} .. {test.high:+.3f}", style="not bold dim")
    gain.append(f"\n{_UNITS.get(test.test, plain(test.test, 20))}", style="not bold dim")
    return gain, Text(f"{test.q:.2g}")


def _weight(weight: float) -> Text:
    from rich.text import Text

    full = round(weight * _WEIGHT_CELLS)
    bar = Text("█" * full, style="cyan")
    bar.append("░" * (_WEIGHT_CELLS - full), style="dim")
    return bar.append(f"\n{weight:.2f}", style="dim")


def _examples(profile: Profile, show_all: bool) -> Iterable[Text]:
    from rich.text import Text

    shown = profile.examples if show_all else profile.examples[:EXAMPLE_ROWS]
    for example in shown:
        line = Text("  · ")
        line.append(f"{plain(example.id, 24)} ", style="dim")
        line.append(plain(example.text, None if show_all else _QUOTE_CHARS), style="italic")
        yield line
    yield from _more(len(profile.examples) - len(shown))


def _preferences(profile: Profile, show_all: bool, all_preferences: bool) -> Iterable[Text]:
    """The preferences that choices show, the surest first, in the words of the preferred pole.

    All of them have a quote each, where one was kept.
    """
    from rich.text import Text

    from hyperalign.profile import Poles
    from hyperalign.space import known_poles

    if all_preferences and not profile.direction:
        yield Text(f"  {_NO_PREFERENCES}", style="dim")
    show_all = show_all or all_preferences
    known = known_poles(profile)
    quotes = {h.statement: h.evidence for h in profile.hypotheses if h.source == "space"} if show_all else {}
    surest = sorted(profile.direction.items(), key=lambda item: (-abs(item[1] - 0.5), item[0]))
    shown = surest if show_all else surest[:PREFERENCE_ROWS]
    for name, probability in shown:
        ends = known.get(name) or Poles(high=name, low=f"not {name}")
        pole, sure = (ends.high, probability) if probability >= 0.5 else (ends.low, 1 - probability)
        yield Text(f"  {sure:4.0%}  {plain(pole, 80)}")
        yield from (Text("        ").append_text(_quote(item, _QUOTE_CHARS)) for item in quotes.get(pole, [])[:1])
    yield from _more(len(surest) - len(shown), indent=8)


def _style(profile: Profile, show_all: bool) -> Table:
    from rich.text import Text

    table = _table(("Measured style", "wide"), ("This person", "right"), ("Others", "right"), ("Distance", "right"))
    strongest = sorted(profile.style.items(), key=lambda item: (-abs(item[1].z), item[0]))
    for name, found in strongest if show_all else strongest[:STYLE_ROWS]:
        color = "cyan" if found.z > 0 else "magenta"
        table.add_row(
            Text(plain(name)), f"{found.value:.3g}", f"{found.reference:.3g}", Text(f"{found.z:+.1f}", style=color)
        )
    rest = 0 if show_all else len(strongest) - STYLE_ROWS
    if rest > 0:
        table.add_row(Text(f"… and {rest} more: --all", style="dim"))
    table.add_row()
    return table


def _dropped(dropped: Sequence[Hypothesis], show_all: bool) -> Iterable[Text]:
    from rich.text import Text

    if not show_all:
        reasons = Counter(plain(h.dropped_because or "no reason given", 60) for h in dropped)
        if len(reasons) < len(dropped):
            counted = ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common(4))
            yield Text(f"  {counted}", style="dim")
    shown = dropped if show_all else dropped[:DROPPED_ROWS]
    for hypothesis in shown:
        line = Text("  · ")
        line.append(plain(hypothesis.statement, None if show_all else _QUOTE_CHARS))
        line.append(f" {plain(hypothesis.dropped_because or 'no reason given')}", style="dim")
        if hypothesis.test is not None:
            test = hypothesis.test
            line.append(f" [{test.gain:+.3f}, {test.low:+.3f} .. {test.high:+.3f}]", style="dim")
        yield line
    yield from _more(len(dropped) - len(shown))


def _more(rest: int, indent: int = 2) -> Iterable[Text]:
    from rich.text import Text

    if rest > 0:
        yield Text(f"{'':<{indent}}… and {rest} more: --all", style="dim")
