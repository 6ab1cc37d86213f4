# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a migration as one page of HTML that needs nothing else: no network, no file beside it. Pure.

Drawing is left to the caller, who has the library for it: ``draw(name, figure)`` makes HTML of a figure of :mod:`report_plots`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import evidence, report_model, report_plots, timeline
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import OK
from ansible_collections.netops.cni_migration.plugins.module_utils.report_html import (
    UNKNOWN,
    Html,
    cell,
    count,
    element,
    escaped,
    facts,
    figures,
    joined,
    milliseconds,
    moment,
    names,
    plain_table,
    seconds,
    table,
    texts,
    words,
)
from ansible_collections.netops.cni_migration.plugins.module_utils.report_model import Evidence
from ansible_collections.netops.cni_migration.plugins.module_utils.report_style import SCRIPT, STYLE

Draw = Callable[[str, report_plots.Figure], str]

MOST_ROWS = 200
"""Longer lists are cut in the page; the files beside it have all of them."""

# The page may load nothing at all, whatever its text says.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_MOODS = {report_model.GOOD: "As it should be", report_model.UNSURE: "Incomplete", report_model.BAD: "Attention"}


def page(found: Evidence, draw: Draw, library: str) -> str:
    """The whole page; ``library`` is the text of the script that draws."""
    verdict = report_model.verdict(found)
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="color-scheme" content="light dark">'),
            element("title", verdict.sentence),
            element("style", Html(STYLE)),
            element("script", Html(library)),
        ]
    )
    sections = [course(found, draw), paths(found, draw), api_server(found), where_time_went(found)]
    if not report_model.leads_back(found):  # which keeps no record of what was before
        sections += [rules(found, draw), network(found), decided(found)]
    body = joined([header(found, verdict), element("main", *sections, left_over(found), monitor(found)), footer(found), element("script", Html(SCRIPT))])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def header(found: Evidence, verdict: report_model.Verdict) -> Html:
    """The verdict first, then when and what it was about, then the key figures."""
    start, end = found.summary["started"], found.summary["finished"]
    way = "From Cilium back to Flannel" if report_model.leads_back(found) else "From Flannel to Cilium"
    about = f"{way}, {words(len(found.nodes), 'node')}. {start[:10]} {start[11:19]} to {end[11:19]} UTC."
    moved = f"{len(report_model.arrived(found))} of {len(found.nodes)}"
    told = [("Nodes moved", moved), ("Time of the last run", timeline.clock(found.summary["seconds"]))]
    disruption = found.disruption
    if disruption is not None:
        told += [
            ("Requests", count(disruption["requests"])),
            ("Failed", count(disruption["failed"])),
            ("Longest gap", milliseconds(disruption.get("max_gap_ms"))),
            ("Late answers", count(disruption.get("late"))),
        ]
    key = element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in told), class_="key")
    return element(
        "header",
        element("h1", verdict.sentence),
        element("p", element("span", _MOODS[verdict.mood], class_=f"badge {verdict.mood}"), " ", element("span", about, class_="muted")),
        element("ul", *(element("li", reason) for reason in verdict.reasons)) if verdict.reasons else "",
        key,
    )


def section(title: str, *content: object) -> Html:
    """A part of the page with its heading."""
    name = title.lower().replace(" ", "-").replace(",", "")
    return element("section", element("h2", title, id=name), *content, aria_labelledby=name)


def figure(draw: Draw, name: str, drawn: report_plots.Figure, description: str, title: str = "") -> Html:
    """A plot, described in words for those who cannot see it."""
    caption = element("figcaption", title) if title else ""
    return element("figure", caption, element("div", Html(draw(name, drawn)), role="img", aria_label=description))


def course(found: Evidence, draw: Draw) -> Html:
    """What happened when, and each gap with the task that ran."""
    drawn = report_plots.course(found)
    content: list[object] = []
    if drawn:
        description = "Requests per second, failed and late ones, and the slowest answer, above the phases of each node over time."
        content.append(figure(draw, "course", drawn, description))
        content.append(element("p", "Point at a line or a bar for its figures. Drag to look closer, double-click to go back.", class_="muted screen"))
    else:
        content.append(element("p", "Neither the tasks nor the requests were recorded."))
    if not found.records:
        note = "The callback plugin netops.cni_migration.timeline was not enabled, so it is not known which task ran when."
        content.append(element("p", note, class_="muted"))
    if found.disruption is not None:
        content += [element("h3", "Gaps"), gaps(found), element("h3", "Failed, late and excused requests"), failures(found.disruption)]
    return section("Course", *content)


def gaps(found: Evidence) -> Html:
    """The gaps with what ran meanwhile."""
    told = report_model.gaps(found)
    if not told:
        return element("p", f"None: no path was silent for more than {report_plots.GAP_LIMIT_MS} ms beyond the delay of the probers themselves.")
    columns = [*texts("Began (UTC)", "Path"), *names("From", "To"), *figures("Gap", "Whole silence"), *texts("Task"), *names("Host")]
    rows = [
        (
            moment(gap["t"], 2),
            path_words(gap["path"]),
            cell(gap["source"]),
            cell(gap["target"]),
            milliseconds(gap["net_ms"]),
            milliseconds(gap["ms"]),
            cell(gap["task"]),
            cell(gap["host"]),
        )
        for gap in told[:MOST_ROWS]
    ]
    caption = f"{words(len(told), 'gap')} of more than {report_plots.GAP_LIMIT_MS} ms. What is excused and the delay of the probers are off."
    return joined([table(caption, columns, rows), cut(len(told), "disruption.json")])


def cut(number: int, file: str) -> Html:
    """What to say of a list that is longer than the page shows."""
    return element("p", f"{number - MOST_ROWS:,} more are in {file}.") if number > MOST_ROWS else Html("")


def failures(disruption: Mapping[str, Any]) -> Html:
    """The ledger by cause."""
    causes = report_model.causes(disruption.get("failures", []))
    if not causes:
        return element("p", "None.")
    columns = [*texts("Destination", "What happened", "Excused because"), *figures("Requests")]
    rows = [(destination, error, excused or UNKNOWN, count(number)) for destination, error, excused, number in causes[:MOST_ROWS]]
    note = "The network is not to blame for an excused request: its source or its target was away or had ended, or the prober itself stood still."
    return joined([table("By destination and cause", columns, rows), cut(len(causes), "disruption.json"), element("p", note, class_="muted")])


def path_words(key: str) -> str:
    """A path in one line of words."""
    path = report_model.path_of(key)
    return f"{path.source} → {path.destination}, {path.connection}, {path.cnis}" if path.destination else path.source


def paths(found: Evidence, draw: Draw) -> Html:
    """Answers and gaps of each path."""
    by_path = (found.disruption or {}).get("by_path", {})
    if not by_path:
        return section("Latency and gaps by path", element("p", "Not measured."))
    answers, silences = report_plots.paths(by_path, "p99_ms"), report_plots.paths(by_path, "max_gap_ms", limit=report_plots.GAP_LIMIT_MS)
    plots = element(
        "div",
        figure(draw, "latency", answers, "The 99th percentile of the answer time of each path.", "99 of 100 answers came within"),
        figure(draw, "gaps", silences, "The longest gap of each path.", f"Longest gap, with the limit of {report_plots.GAP_LIMIT_MS} ms"),
        class_="plots",
    )
    columns = [*texts("From", "To", "Connection", "CNI"), *figures("Requests", "Failed", "Excused", "p50", "p99", "Slowest", "Longest gap")]
    order = sorted(by_path.items(), key=lambda item: (-item[1]["failed"], -(item[1].get("max_gap_ms") or 0), report_model.path_order(item[0])))
    rows = [
        (
            *report_model.path_of(key),
            count(values["requests"]),
            count(values["failed"]),
            count(values.get("excused")),
            *(milliseconds(values.get(name)) for name in ("p50_ms", "p99_ms", "max_ms", "max_gap_ms")),
        )
        for key, values in order
    ]
    listing = element("details", element("summary", f"All {words(len(rows), 'path')} in figures"), table("Failed ones first, then by gap", columns, rows))
    note = "A request goes from a pod or from the host over a new connection or over one that was open all the time; "
    note += "the CNI is that of the source and of the target at the time. Point at a dot for its figures."
    return section("Latency and gaps by path", element("p", note), plots, listing)


def api_server(found: Evidence) -> Html:
    """The one thing that cannot be there while its only node reboots."""
    told = (found.disruption or {}).get("api_server")
    if not told:
        return Html("")
    note = "It is measured apart: with a single control plane node nobody answers while that node reboots."
    content: list[object] = [element("p", note)]
    if absence := report_model.api_absence(found):
        content.append(element("p", absence))
    if (told.get("absence") or {}).get("shares"):
        note = "The machine's share lasts until the kubelet has started, the kubelet's until the container of etcd has, and etcd's until that of the "
        note += "API server has; then it is the API server's until hosts are answered, and at last the pods', for "
        note += "their answers need routes, too. The starts are known to a whole second."
        content.append(element("p", note, class_="muted"))
    content.append(facts("As the probers saw it", {key: value for key, value in told.items() if key != "absence"}))
    return section("API server", *content)


def where_time_went(found: Evidence) -> Html:
    """Seconds by phase and node, with Ansible's own share."""
    content: list[object] = []
    if found.records:
        content.append(phases(found))
    columns = [*names("Node"), *figures("Whole move", "Drain", "Reboot", "Verification", "Out of service")]
    rows = []
    for node in found.nodes:
        measured = evidence.timings(node["times"])
        rows.append((node["name"], *(seconds(measured.get(key)) for key in ("seconds", "drain_s", "reboot_s", "verify_s", "unschedulable_s"))))
    content.append(table("Each node by its own record, an interrupted move from its first start on", columns, rows))
    return section("Where the time went", *content)


def phases(found: Evidence) -> Html:
    """The recorded phases, and what of the time was nobody's work."""
    lanes = report_model.lanes(found)
    columns = [*texts("Phase"), *figures(*lanes, "Sum")]
    by_phase = report_model.phase_seconds(found)
    rows = [(phase, *(seconds(mine.get(lane)) for lane in lanes), seconds(sum(mine.values()))) for phase, mine in by_phase.items()]
    spent = timeline.overhead(found.records)
    blank = [""] * len(lanes)

    def share(name: str, value: float) -> tuple[object, ...]:
        return name, *blank, f"{seconds(value)} ({100 * value / spent['seconds']:.0f} %)" if spent["seconds"] else seconds(value)

    sums = [
        ("Whole run, by the clock", *blank, seconds(spent["seconds"])),
        share("Ansible's own overhead", spent["between"] + spent["starting"]),
        share("of it between tasks", spent["between"]),
        share("of it starting tasks", spent["starting"]),
    ]
    note = "Phases of several nodes may run at the same time. Ansible's own overhead is part of the phases: the time in which no task ran on any host, and "
    note += "that in which tasks ran but none, by its own account, did its work yet. A task that gives no account counts as work."
    return joined([table("Seconds by phase", columns, rows, summary=sums), element("p", note, class_="muted")])


def rules(found: Evidence, draw: Draw) -> Html:
    """Rules before and after."""
    drawn = report_plots.rules(found.nodes)
    content: list[object] = [figure(draw, "rules", drawn, "The number of rules of each node before and after the migration, by owner.")] if drawn else []
    columns = [*names("Node"), *figures("Rules before", "Rules after", "Purge")]
    told = found.summary.get("rules", {})
    rows = []
    for node in found.nodes:
        mine = told.get(node["name"], {})
        purge = mine.get("purge_seconds")
        rows.append((node["name"], count(mine.get("before")), count(mine.get("after")), UNKNOWN if purge is None else f"{purge:.2f} s"))
    content.append(table("Rules of every backend, family and table; those of nobody we know are kept", columns, rows))
    columns = [*texts("Backend", "Family", "Table", "Owner"), *figures("Before", "Removed", "After")]
    for node in found.nodes:
        details = [(*row[:4], *map(count, row[4:])) for row in report_model.rule_details(node)]
        if details:
            content.append(element("details", element("summary", f"{node['name']} by table and owner"), table(f"Rules of {node['name']}", columns, details)))
    return section("Rules before and after", *content)


def network(found: Evidence) -> Html:
    """Links, routes and pods of each node before and after."""
    columns = [*names("Node"), *texts("What", "Before", "After")]
    rows = []
    for node in found.nodes:
        for what in ("links", "routes", "pods"):
            before, after = (_listed(what, node[when].get(what)) for when in ("before", "after"))
            rows.append((node["name"], what, before, after))
    return section("Links, routes and pods", table("Links without those of pods, routes by device, pods by the network of their address", columns, rows))


def _listed(what: str, value: Any) -> object:
    """Pods as numbers by network, with their names to unfold; everything else as it is."""
    if what != "pods" or not isinstance(value, Mapping):
        return cell(value)
    lines = [element("div", f"{network}: {words(len(pods), 'pod')}") for network, pods in value.items() if pods]
    items = [element("li", pod) for pods in value.values() for pod in pods]
    return joined([*lines, element("details", element("summary", "names"), element("ul", *items))]) if items else UNKNOWN


def decided(found: Evidence) -> Html:
    """What preflight saw and what followed from it."""
    findings = report_model.decisions(found.nodes)
    columns = [*texts("Check", "Level"), *names("Node"), *texts("What was seen", "What follows")]
    rows = [(each["check"], each["level"], each["node"] or timeline.CLUSTER, each["fact"], each["advice"]) for each in findings]
    noted, fine = [row for row in rows if row[1] != OK], [row for row in rows if row[1] == OK]
    nothing = element("p", "Preflight found nothing that stood in the way or had to be pointed out.")
    content = [table("Findings of the preflight", columns, noted) if noted else nothing]
    if fine:
        content.append(element("details", element("summary", f"{words(len(fine), 'check')} found all well"), table("What was well", columns, fine)))
    return section("What was decided, and why", *content)


def left_over(found: Evidence) -> Html:
    """The residue, or that there is none."""
    residue = found.summary.get("residue", {})
    old, whose = "the old network", "Flannel, kube-proxy or the old CNI plugins"
    if report_model.leads_back(found):
        old = whose = "Cilium"
    unknown = [node["name"] for node in found.nodes if node["name"] not in residue]
    items = [(node, item) for node, left in residue.items() for item in left]
    content: list[object] = []
    if items and all(isinstance(item, Mapping) for _node, item in items):
        content.append(plain_table(f"Left of {old}", [{"node": node, **item} for node, item in items]))
    elif items:
        content.append(element("ul", *(element("li", f"{node}: {cell(item)}") for node, item in items)))
    elif residue:
        content.append(element("p", f"Nothing of {whose} was found on {', '.join(residue)}."))
    if unknown:
        content.append(element("p", f"Not cleaned yet: {', '.join(unknown)}."))
    return section(f"What is left of {old}", *content)


def monitor(found: Evidence) -> Html:
    """Who measured, and how completely."""
    probers: Sequence[dict[str, Any]] = (found.disruption or {}).get("probers", [])
    if not probers:
        return Html("")
    lag = f"The longest delay of a prober itself was {milliseconds((found.disruption or {}).get('max_lag_ms'))}; it is taken off the gaps."
    columns = [*names("Node", "Prober"), *figures("Starts", "Watched", "CPU", "Longest delay"), *texts("Not seen")]
    rows = []
    for prober in probers:
        unseen = f"{sum(end - start for start, end in prober['holes']):.1f} s" if prober["holes"] else "nothing"
        cpu = UNKNOWN if prober["cpu_percent"] is None else f"{prober['cpu_percent']:.1f} %"
        figures_of_it = (count(prober["incarnations"]), seconds(prober["seconds"]), cpu, milliseconds(prober["max_lag_ms"]))
        rows.append((prober["node"], prober["kind"], *figures_of_it, unseen if prober["answers"] else f"{unseen}, and its last logs could not be had"))
    return section("The probers", element("p", lag), table("What each prober saw, and what it cost of one core", columns, rows))


def footer(found: Evidence) -> Html:
    """What else there is."""
    files = "summary.json, nodes/" + (", disruption.json" if found.disruption is not None else "") + (", timeline.jsonl" if found.records else "")
    text = f"Made by netops.cni_migration from the files beside it: {files}. All times are UTC."
    plain = element("noscript", element("p", "The plots need JavaScript. Every figure in them is in the tables and in the files beside this page."))
    return element("footer", element("p", escaped(text)), plain)
