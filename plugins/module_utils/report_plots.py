# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the report as plotly takes them: plain dictionaries, without a colour of text or paper, which the page gives them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import report_model as model
from ansible_collections.netops.cni_migration.plugins.module_utils.report_html import milliseconds, moment

Figure = dict[str, Any]

GAP_LIMIT_MS = 250

# Each can be told from the others, and read on white and on black.
_BLUE, _RED, _AMBER, _GREY = "#4a87c9", "#d64b45", "#d9920a", "#8894a4"
_COLOURS = ("#4a87c9", "#2b9d8f", "#c56aa0", "#d9920a", "#8b73c9", "#7f9a3c", "#8894a4")
_SYMBOLS = {
    "flannel": ("circle-open", "#4a87c9"),
    "cilium": ("diamond-open", "#2b9d8f"),
    "flannel → flannel": ("circle", "#4a87c9"),
    "flannel → cilium": ("square", "#c56aa0"),
    "cilium → flannel": ("triangle-up", "#d9920a"),
    "cilium → cilium": ("diamond", "#2b9d8f"),
}
# White letters stand on these.
_PHASES = {
    "preflight": "#6f7b8a",
    "monitor": "#8a95a3",
    "prepare": "#4f769f",
    "record": "#8a95a3",
    "spread DNS": "#2d7f9d",
    "drain": "#b87503",
    "switch": "#7b61bf",
    "reboot": "#2f63a8",
    "recreate pods": "#2f63a8",
    "verify": "#1f8175",
    "uncordon": "#3b8757",
    "ending": "#ad4f8a",
    "remove old": "#a0653a",
    "clean": "#66802a",
    "evidence": "#6f7b8a",
    "bring back": "#ad4f8a",
    "return": "#a0653a",
    "remove Cilium": "#7b61bf",
    "move": "#2f63a8",
}


def _stamp(epoch: float) -> str:
    """A moment as plotly reads it, in UTC."""
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def _layout(height: int, **more: Any) -> dict[str, Any]:
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12}
    plain = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "template": {"layout": {}}, "font": font, "autosize": True}
    return {**plain, "height": height, "margin": {"l": 8, "r": 8, "t": 28, "b": 8}, "hovermode": "closest", **more}


def _axis(**more: Any) -> dict[str, Any]:
    return {"automargin": True, "showline": False, "zeroline": False, "fixedrange": True, "tickangle": 0, "ticklabelstandoff": 4, **more}


def course(found: model.Evidence) -> Figure | None:
    """Requests, failed and late ones and the slowest answers above the phases of the nodes, all over the same time."""
    spans, series = model.spans(found), model.buckets((found.disruption or {}).get("series", {}))
    if not spans and not series:
        return None
    lanes = model.lanes(found)
    rows: list[tuple[str, int, list[dict[str, Any]], dict[str, Any]]] = []
    if series:
        rows = [
            ("Requests per second", 110, [_requests(series)], {"rangemode": "tozero", "nticks": 4}),
            ("Failed and late requests", 80, _troubles(series), {"rangemode": "tozero", "nticks": 4, **_room(series)}),
            ("Slowest answer in ms", 110, [_slowest(series)], {"type": "log", "nticks": 4, "dtick": 1}),
        ]
    if spans:
        rows.append(
            (
                "Phases",
                34 * len(lanes) + 8,
                _phases(spans),
                {"type": "category", "categoryarray": [escape(each) for each in lanes[::-1]], "range": [-0.6, len(lanes) - 0.4]},
            )
        )
    start = min([span["start"] for span in spans] + [bucket.start for bucket in series])
    end = max([span["end"] for span in spans] + [bucket.start + bucket.seconds for bucket in series])
    return _stacked(rows, [_stamp(start), _stamp(end)])


def _stacked(rows: Sequence[tuple[str, int, list[dict[str, Any]], dict[str, Any]]], time: list[str]) -> Figure:
    """Panels of the given heights below each other, each with its title above its left edge, over one axis of time."""
    between, top, bottom = 34, 30, 76
    inner = sum(height for _title, height, _traces, _y in rows) + between * (len(rows) - 1)
    data: list[dict[str, Any]] = []
    titles: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    below = float(inner)
    for number, (title, height, traces, y_axis) in enumerate(rows, 1):
        name = "" if number == 1 else str(number)
        axes[f"yaxis{name}"] = _axis(domain=[max(0.0, (below - height) / inner), below / inner], **y_axis)
        data += [{**trace, "xaxis": "x", "yaxis": f"y{name}"} for trace in traces]
        titles.append(_title(title, below / inner))
        below -= height + between
    x_axis = _axis(type="date", range=time, anchor=f"y{len(rows)}" if len(rows) > 1 else "y", fixedrange=False, hoverformat="%H:%M:%S", nticks=8)
    x_axis["tickformatstops"] = [{"dtickrange": [None, 59999], "value": "%H:%M:%S"}, {"dtickrange": [60000, None], "value": "%H:%M"}]
    legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left", "traceorder": "normal", "itemclick": False}
    layout = _layout(inner + top + bottom, annotations=titles, barmode="stack", bargap=0, legend=legend, uniformtext={"mode": "hide", "minsize": 10})
    layout["margin"].update(t=top, b=bottom)
    return {"data": data, "layout": {**layout, "xaxis": x_axis, **axes}}


def _title(text: str, y: float) -> dict[str, Any]:
    """A heading above the left edge of a panel that ends at ``y``."""
    return {"text": f"<b>{text}</b>", "showarrow": False, "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": y, "yanchor": "bottom"}


def _requests(series: Sequence[model.Bucket]) -> dict[str, Any]:
    line = {"mode": "lines", "line": {"color": _BLUE, "width": 1.5, "shape": "hv"}, "fill": "tozeroy", "fillcolor": "rgba(74,135,201,0.18)"}
    hover = "%{x|%H:%M:%S}: %{y:,.0f} requests a second<extra></extra>"
    return {"type": "scatter", "name": "requests", "showlegend": False, "hovertemplate": hover, **line, **_over(series, "rate")}


def _over(series: Sequence[model.Bucket], value: str) -> dict[str, list[Any]]:
    """A trace's points. Where nothing was observed it is broken, not drawn through."""
    x: list[str] = []
    y: list[Any] = []
    for bucket, before in zip(series, [None, *series]):
        if before and bucket.start > before.start + 1.5 * before.seconds:
            x.append(_stamp(before.start + before.seconds))
            y.append(None)
        x.append(_stamp(bucket.start))
        y.append(getattr(bucket, value))
    return {"x": x, "y": y}


def _troubles(series: Sequence[model.Bucket]) -> list[dict[str, Any]]:
    traces = []
    for name, colour in (("failed", _RED), ("late", _AMBER)):
        some = [bucket for bucket in series if getattr(bucket, name)]
        # Half of the stretch is added, since a bar stands over its middle.
        x = [_stamp(bucket.start + bucket.seconds / 2) for bucket in some]
        width = 1000 * (series[0].seconds if series else 1)
        bars = {"x": x, "y": [getattr(bucket, name) for bucket in some], "width": [width] * len(some)}
        look = {"marker": {"color": colour, "line": {"color": colour, "width": 1}}, "hovertemplate": f"%{{x|%H:%M:%S}}: %{{y}} {name}<extra></extra>"}
        traces.append({"type": "bar", "name": name, **bars, **look})
    return traces


def _room(series: Sequence[model.Bucket]) -> dict[str, Any]:
    """Nothing failed and nothing late is an axis too, not one of fractions."""
    return {} if any(bucket.failed + bucket.late > 3 for bucket in series) else {"range": [0, 4], "dtick": 2}


def _slowest(series: Sequence[model.Bucket]) -> dict[str, Any]:
    hover = "%{x|%H:%M:%S}: slowest answer %{y:,.1f} ms<extra></extra>"
    line = {"mode": "lines", "line": {"color": "#8b73c9", "width": 1.2}, "hovertemplate": hover}
    return {"type": "scatter", "name": "slowest", "showlegend": False, **line, **_over(series, "worst_ms")}


def _phases(spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A trace per phase, so that each is in the legend once."""
    traces = []
    for phase in _PHASES:
        mine = [span for span in spans if span["phase"] == phase]
        if not mine:
            continue
        hover = [f"{escape(span['lane'])}: {phase}, {span['end'] - span['start']:.1f} s<br>{moment(span['start'])} to {moment(span['end'])}" for span in mine]
        place = {"y": [escape(span["lane"]) for span in mine], "base": [_stamp(span["start"]) for span in mine]}
        text = {"text": [phase] * len(mine), "textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "textfont": {"color": "#ffffff"}}
        shape = {"x": [1000 * (span["end"] - span["start"]) for span in mine], "width": 0.62, "marker": {"color": _PHASES[phase], "line": {"width": 0}}}
        traces.append({"type": "bar", "orientation": "h", "name": phase, "hovertext": hover, "hoverinfo": "text", **place, **shape, **text})
    return traces


def paths(by_path: Mapping[str, Mapping[str, Any]], figure: str, *, limit: float | None = None) -> Figure:
    """One figure of each path as a dot: a row for each way a request takes, a colour and a shape for the CNI at its ends."""
    known = [(model.path_of(key), by_path[key]) for key in sorted(by_path, key=model.path_order) if by_path[key].get(figure) is not None]
    rows = list(dict.fromkeys(_row(path) for path, _values in known))
    data = []
    for cnis in dict.fromkeys(path.cnis for path, _values in known):
        mine = [(path, values) for path, values in known if path.cnis == cnis]
        hover = [f"{_row(path)}, {escape(cnis)}<br>{_told(values)}" for path, values in mine]
        symbol, colour = _SYMBOLS.get(cnis, ("cross", _GREY))
        look = {"color": colour, "symbol": symbol, "size": 9, "opacity": 0.9, "line": {"width": 2 if symbol.endswith("open") else 0}}
        # A logarithmic axis has no place for nothing.
        points = {"x": [max(values[figure], 0.1) for _path, values in mine], "y": [_row(path) for path, _values in mine]}
        data.append({"type": "scatter", "mode": "markers", "name": escape(cnis), "marker": look, "hovertext": hover, "hoverinfo": "text", **points})
    shapes = []
    if limit is not None:
        shapes = [
            {"type": "line", "xref": "x", "yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1, "line": {"color": _RED, "width": 1.5, "dash": "dot"}}
        ]
    reach = [max(values[figure], 0.1) for _path, values in known] + ([limit] if limit else [])
    layout = _layout(16 * len(rows) + 88, shapes=shapes)
    layout["legend"] = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xref": "container"}
    layout["margin"].update(t=4, b=64)
    low, high = min(reach, default=1) / 1.6, max(reach, default=1) * 1.6
    ticks = [step * 10.0**power for power in range(-1, 6) for step in (1, 3) if low <= step * 10.0**power <= high]
    layout["xaxis"] = _axis(type="log", range=[math.log10(low), math.log10(high)], tickvals=ticks, ticktext=[f"{tick:,g} ms" for tick in ticks])
    layout["yaxis"] = _axis(type="category", tickfont={"size": 11}, categoryarray=rows[::-1], range=[-0.7, len(rows) - 0.3], showgrid=True)
    return {"data": data, "layout": layout}


def _row(path: model.Path) -> str:
    return escape(f"{path.source} → {path.destination}, {path.connection}" if path.destination else path.source)


def _told(values: Mapping[str, Any]) -> str:
    named = (("p50", "p50_ms"), ("p99", "p99_ms"), ("slowest", "max_ms"), ("longest gap", "max_gap_ms"))
    return ", ".join(f"{name} {milliseconds(values.get(key))}" for name, key in named)


def rules(nodes: Iterable[Mapping[str, Any]]) -> Figure | None:
    """The rules of each node before and after, by their owner; None where none were counted."""
    bars = []
    for node in nodes:
        before, after = node["before"].get("rules"), node["after"].get("rules")
        if before:
            bars.append((node["name"], "before", _both(before)))
        if after:
            bars.append((node["name"], "after", model.rules_by_owner(after.get("kept"))))
    owners = sorted({owner for _node, _when, counts in bars for owner, number in counts.items() if number})
    if not owners:
        return None
    data: list[dict[str, Any]] = []
    for number, owner in enumerate(owners):
        some = [(node, when, counts[owner]) for node, when, counts in bars if counts.get(owner)]
        x = [[escape(node) for node, _when, _count in some], [when for _node, when, _count in some]]
        hover = "%{x}: %{y:,} rules of " + escape(owner) + "<extra></extra>"
        look = {"marker": {"color": _GREY if owner == "foreign" else _COLOURS[number % len(_COLOURS)]}, "hovertemplate": hover}
        data.append({"type": "bar", "name": _owner(owner), "x": x, "y": [count for _node, _when, count in some], **look})
    # A category without a bar would have no place on the axis.
    x = [[escape(node) for node, _when, _counts in bars], [when for _node, when, _counts in bars]]
    data.insert(0, {"type": "bar", "x": x, "y": [0] * len(bars), "showlegend": False, "hoverinfo": "skip"})
    layout = _layout(320, barmode="stack", bargap=0.35, xaxis=_axis(type="multicategory"), yaxis=_axis(rangemode="tozero", title={"text": "rules"}))
    layout["legend"] = {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0}
    layout["margin"].update(t=40)
    return {"data": data, "layout": layout}


def _both(before: Mapping[str, Any]) -> dict[str, int | None]:
    """What a purge would have removed and what it would have kept."""
    counts = model.rules_by_owner(before.get("removed"))
    for owner, number in model.rules_by_owner(before.get("kept")).items():
        counts[owner] = model.total(counts.get(owner, 0), number)
    return counts


def _owner(owner: str) -> str:
    return "others" if owner == "foreign" else escape(owner)
