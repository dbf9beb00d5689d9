"""An explanation in words: as text, and as a self-contained HTML page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from model.inference.breakdowns import ACTION_NAMES
from model.inference.cascade import BACK_FILL, BEAM, PATH_NAMES
from model.inference.explanation import Beam, Candidate, Event, Explanation, HeldOut, Level
from model.inference.loss_funnel import Fate

FATES = {
    Fate.NOT_A_CANDIDATE: "not among the candidates",
    Fate.COLD_FILTERED: "ruled out for everyone: no training event",
    Fate.SEEN_FILTERED: "filtered: in the history",
    Fate.HIT: "recommended",
    Fate.HIT_BY_BACK_FILL: "recommended by back-fill",
    Fate.NO_SEMANTIC_ID: "not proposed: it has no semantic ID",
    Fate.NOT_AMONG_BEAMS: "not among the beams",
    Fate.CAPPED: "filtered: group cap",
    Fate.RANKED_BELOW_TEN: "ranked below ten",
    Fate.BLOCKED: "ruled out for everyone: on the block list",
}
PLACED = (Fate.HIT, Fate.HIT_BY_BACK_FILL, Fate.RANKED_BELOW_TEN)

_CANDIDATE_HEAD = ("place", "item", "semantic ID", "cosine", "log p", "score", "verdict")
_BEAM_HEAD = ("semantic ID", "probability", "items", "best place")
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; color: #222; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.recommended { background: #eaf6ef; } tr.filtered { color: #a33; } tr.target { font-weight: 600; }
.bar { background: #3b6fb6; height: .7rem; display: inline-block; vertical-align: middle; }
"""


def as_text(explanation: Explanation) -> str:
    """The explanation for a terminal."""
    lines = [
        f"user {explanation.user} ({explanation.part})",
        "",
        f"history: {_history_size(explanation)}",
        *_aligned([_event_cells(e) for e in explanation.history]),
        "",
        *_level_lines(explanation.levels),
        f"most probable semantic IDs{_cut(explanation.beams, explanation.num_beams)}",
        *_aligned([_BEAM_HEAD, *map(_beam_cells, explanation.beams)] if explanation.beams else []),
        "",
        f"re-scored list{_cut(explanation.candidates, explanation.num_scored)}",
        *_aligned([_CANDIDATE_HEAD, *(_cells(c, explanation) for c in explanation.candidates)]),
        "",
        "what became of the items",
        *_aligned([(name, f"{count:,}") for name, count in counts(explanation).items()]),
        "",
        "settings",
        *_aligned([(name, str(value)) for name, value in explanation.settings.items()]),
    ]
    if explanation.target is not None:
        lines.insert(1, f"held-out item {explanation.target.item}: {fate_of(explanation.target)}")
    return "\n".join(lines) + "\n"


def as_page(explanation: Explanation) -> str:
    """The explanation as one self-contained HTML file."""
    target = ""
    if explanation.target is not None:
        item, fate = escape(explanation.target.item), escape(fate_of(explanation.target))
        target = f"<p>Held-out item <b>{item}</b>: {fate}.</p>"
    levels = "\n".join(_level_section(n, one) for n, one in enumerate(explanation.levels, 1))
    candidates = [
        f"<tr class='{_row_class(c, explanation)}'>{_html_cells(_cells(c, explanation))}</tr>"
        for c in explanation.candidates
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>user {escape(explanation.user)}</title>
<style>{_STYLE}</style></head><body>
<h1>User {escape(explanation.user)} ({explanation.part})</h1>{target}
<h2>Re-scored list{_cut(explanation.candidates, explanation.num_scored)}</h2>
{_table(_CANDIDATE_HEAD, candidates)}
<h2>What became of the items</h2>
{_table(("", "items"), _rows([(n, f"{c:,}") for n, c in counts(explanation).items()]))}
{levels}
<h2>Most probable semantic IDs{_cut(explanation.beams, explanation.num_beams)}</h2>
{_table(_BEAM_HEAD, _rows([_beam_cells(b) for b in explanation.beams]))}
<h2>History: {_history_size(explanation)}</h2>
{
        _table(
            ("time (UTC)", "action", "item", "semantic ID"),
            _rows([_event_cells(e) for e in explanation.history]),
        )
    }
<h2>Settings</h2>
{_table(("", ""), _rows([(n, str(v)) for n, v in explanation.settings.items()]))}
</body></html>
"""


def fate_of(target: HeldOut) -> str:
    """What became of the held-out item, with its place where it was ranked."""
    words = FATES[target.fate]
    return f"{words} (place {target.place})" if target.fate in PLACED and target.place else words


def verdict(candidate: Candidate, explanation: Explanation) -> str:
    """Why an item is among the ten, or is not."""
    settings = explanation.settings
    special = {
        Fate.HIT: f"{FATES[Fate.HIT]} ({PATH_NAMES[BEAM]})",
        Fate.HIT_BY_BACK_FILL: f"{FATES[Fate.HIT]} ({PATH_NAMES[BACK_FILL]})",
        Fate.CAPPED: f"filtered: {settings['max_per_group']} of its {settings['group_feature']} "
        "rank above it",
    }
    return special.get(candidate.fate, FATES[candidate.fate])


def counts(explanation: Explanation) -> dict[str, int]:
    """How many items were proposed, filtered, back-filled, and ruled out for everyone."""
    met = explanation.fates
    filtered = (Fate.SEEN_FILTERED, Fate.CAPPED, Fate.RANKED_BELOW_TEN)
    return {
        "candidates": explanation.num_candidates,
        FATES[Fate.BLOCKED]: explanation.num_blocked,
        FATES[Fate.COLD_FILTERED]: explanation.num_cold,
        "proposed by the beams": explanation.num_proposed,
        **{FATES[fate]: met.get(fate, 0) for fate in filtered},
        "recommended from the beams": met.get(Fate.HIT, 0),
        FATES[Fate.HIT_BY_BACK_FILL]: met.get(Fate.HIT_BY_BACK_FILL, 0),
    }


def _cut(shown: Sequence[object], number: int) -> str:
    """The end of a heading whose list is cut: ": 40 of 384"."""
    return f": {len(shown)} of {number:,}" if len(shown) < number else ""


def _level_heading(number: int, level: Level) -> str:
    return f"beams after level {number}{_cut(level.prefixes, level.num_prefixes)}"


def _level_lines(levels: Sequence[Level]) -> list[str]:
    """A block of text for each level."""
    lines = []
    for number, level in enumerate(levels, 1):
        rows = [(_sid(prefix), f"{p:.6f}") for prefix, p in level.prefixes]
        lines += [_level_heading(number, level), *_aligned(rows), ""]
    return lines


def _level_section(number: int, level: Level) -> str:
    """A level as a table with bars."""
    largest = level.prefixes[0][1]
    rows = [
        f"<tr><td>{_sid(prefix)}</td><td class=number>{p:.6f}</td>"
        f"<td><span class=bar style='width:{20 * p / largest:.2f}rem'></span></td></tr>"
        for prefix, p in level.prefixes
    ]
    head = ("codes", "probability", "")
    return f"<h2>{_level_heading(number, level).capitalize()}</h2>\n{_table(head, rows)}"


def _history_size(explanation: Explanation) -> str:
    shown, number = len(explanation.history), explanation.history_length
    cut = f"the newest {shown} of " if shown < number else ""
    return f"{cut}{number:,} events, newest first"


def _event_cells(event: Event) -> tuple[str, ...]:
    when = datetime.fromtimestamp(event.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return when, ACTION_NAMES[event.action], event.item, _sid(event.sid)


def _cells(candidate: Candidate, explanation: Explanation) -> tuple[str, ...]:
    return (
        str(candidate.place or ""),
        candidate.item,
        _sid(candidate.sid),
        f"{candidate.cosine:.4f}",
        "" if candidate.log_prob is None else f"{candidate.log_prob:.3f}",
        f"{candidate.score:.4f}",
        verdict(candidate, explanation),
    )


def _beam_cells(beam: Beam) -> tuple[str, ...]:
    place = str(beam.best_place or "")
    return _sid(beam.sid), f"{beam.probability:.6f}", str(beam.num_items), place


def _sid(sid: tuple[int, ...]) -> str:
    return "-".join(map(str, sid)) if any(sid) else "none"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["  (none)"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row_class(candidate: Candidate, explanation: Explanation) -> str:
    kind = verdict(candidate, explanation).split(":")[0].split()[0]
    target = explanation.target
    return f"{kind} target" if target is not None and candidate.item == target.item else kind


def _html_cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _rows(rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"<tr>{_html_cells(row)}</tr>" for row in rows]


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><tr>{cells}</tr>\n" + "\n".join(rows) + "\n</table>"
