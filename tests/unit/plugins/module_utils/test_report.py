# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import plotly.io
import pytest
from small_evidence import BEGAN, PATH, absence, disruption, evidence, gap, node, prober, record, series, summary

from ansible_collections.netops.cni_migration.plugins.module_utils import report, report_html, report_plots

HOSTILE = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """What a browser would make of the page: its text, and whether every element is closed where it should be."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.feed(text)
        assert self.open == []

    @property
    def words(self) -> str:
        """The text with a single space between its words."""
        return " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += f" {data}"


def drawn(name: str, figure: dict[str, Any]) -> str:
    """In place of a plot, its name; the library has the last word on whether it is one."""
    plotly.io.to_json(figure, validate=True)
    return f"<i>plot {name}</i>"


def page(**changes: Any) -> Page:
    return Page(report.page(evidence(**changes), drawn, "the library"))


def test_the_first_line_is_the_verdict() -> None:
    made = page()
    assert made.words.startswith("Migrated. 0 of 123,456 requests failed; longest gap 120 ms. Migrated.")
    assert [tag for tag, _attributes in made.elements].index("h1") < [tag for tag, _attributes in made.elements].index("p")


@pytest.mark.parametrize(
    "said",
    [
        "2026-01-17 09:30:12 to 09:37:21 UTC",
        "plot course",
        "plot latency",
        "plot gaps",
        "plot rules",
        "None: no path was silent for more than 250 ms",
        "longest silence 21.5 s",
        "The API server was silent for 20.5 s while w1 was away: machine 9.2 s (45 %),",
        "Ansible's own overhead 3.0 s (5 %)",
        "lo, cni0",
        "one replica",
        "Nothing of Flannel, kube-proxy or the old CNI plugins was found on w1.",
        "The longest delay of a prober itself was 32 ms",
    ],
)
def test_the_page_tells(said: str) -> None:
    assert said in page().words


def test_what_was_not_measured_is_said() -> None:
    text = page(disruption=None, records=[]).text
    assert "Lost requests were not measured." in text
    assert "Not measured." in text
    assert "callback plugin netops.cni_migration.timeline was not enabled" in text
    assert "overhead" not in text
    bare = page(disruption=None, records=[], nodes=[node(times={}, before={}, after={"pods": {}}, decisions=[])], summary=summary(rules={}, residue={}))
    assert "Neither the tasks nor the requests were recorded." in bare.text
    assert "Not cleaned yet: w1." in bare.text
    assert "Preflight found nothing" in bare.text


def test_what_preflight_found_well_is_told_apart_from_the_rest() -> None:
    fine = {"check": "kernel", "level": "ok", "node": "w1", "fact": "the kernel is 6.1", "advice": ""}
    both = page(nodes=[node(decisions=[*node()["decisions"], fine])]).words
    assert "dns warning cluster one replica it is spread" in both
    assert "1 check found all well" in both
    assert "kernel ok w1 the kernel is 6.1" in both
    alone = page(nodes=[node(decisions=[fine])]).words
    assert "Preflight found nothing that stood in the way" in alone
    assert "1 check found all well" in alone


def test_evidence_that_knows_of_no_absence_has_its_section_all_the_same() -> None:
    text = page(disruption=disruption(api_server={"requests": 900, "longest_silence_ms": 21500.0})).words
    assert "longest silence 21.5 s" in text
    assert "API server was silent" not in text
    assert "absence" not in page().words


def test_each_gap_has_its_task_and_host() -> None:
    text = page(disruption=disruption(gaps=[gap(30.25, 350.0)])).words
    assert "09:30:42.25 pod → pod, other node, new, flannel → cilium w2 w1 350 ms 370 ms a task of reboot w1" in text
    text = page(disruption=disruption(gaps=[gap(30, 350.0)] * (report.MOST_ROWS + 5))).text
    assert "5 more are in disruption.json." in text


def test_a_prober_that_did_not_see_everything_says_so() -> None:
    holes = [[BEGAN, BEGAN + 4], [BEGAN + 9, BEGAN + 10.5]]
    text = page(disruption=disruption(probers=[prober(holes=holes), prober(answers=False, cpu_percent=None)])).words
    assert "w1 pod 2 400.5 s 1.3 % 32 ms 5.5 s" in text
    assert "w1 pod 2 400.5 s — 32 ms nothing, and its last logs could not be had" in text


def test_residue_is_listed_in_either_form() -> None:
    item = {"kind": "link", "name": "cni0", "owner": "cni_plugins", "detail": ""}
    assert "cni0" in page(summary=summary(residue={"w1": [item]})).text
    assert "w1: link cni0" in page(summary=summary(residue={"w1": ["link cni0"]})).text


def test_the_page_of_a_roll_back_tells_of_the_way_back_only() -> None:
    home = node(state="flannel", before={}, after={"pods": {"flannel": ["default/a 10.244.0.2"]}}, decisions=[])
    records = [record(0, 10, "bring back"), record(11, 30, "return"), record(31, 60, "reboot"), record(61, 62, "remove Cilium"), record(63, 64, "clean")]
    text = page(summary=summary(direction="rollback", verdict="returned", rules={}), nodes=[home], records=records).words
    assert text.startswith("Back on Flannel. 0 of 123,456 requests failed")
    assert "From Cilium back to Flannel, 1 node." in text and "Nodes moved 1 of 1" in text
    assert "What is left of Cilium Nothing of Cilium was found on w1." in text
    assert "bring back 10.0 s" in text and "remove Cilium 1.0 s" in text
    assert "Rules before and after" not in text and "What was decided" not in text


def test_no_name_becomes_markup_anywhere() -> None:
    finding = {"check": HOSTILE, "level": HOSTILE, "node": HOSTILE, "fact": HOSTILE, "advice": HOSTILE}
    rules = {"removed": {HOSTILE: {HOSTILE: {HOSTILE: {HOSTILE: {"chains": 1, "rules": 1}}}}}, "kept": {}}
    network = {"rules": rules, "links": [HOSTILE], "routes": {HOSTILE: 1}, "pods": {HOSTILE: [HOSTILE]}}
    mine = node(HOSTILE, before=network, after=network, decisions=[finding])
    told = disruption(
        gaps=[gap(0, 900.0, path=HOSTILE, source=HOSTILE, target=HOSTILE, task=HOSTILE, host=HOSTILE)],
        failures=[{"path": HOSTILE, "error": HOSTILE, "excused": HOSTILE}],
        by_path={HOSTILE: disruption()["by_path"][PATH], f"{HOSTILE}/a/b/c": disruption()["by_path"][PATH]},
        api_server={HOSTILE: HOSTILE, "absence": absence(node=HOSTILE)},
        probers=[prober(node=HOSTILE, kind=HOSTILE)],
        reasons=[HOSTILE],
        verdict="lost",
    )
    figures: list[dict[str, Any]] = []

    def draw(name: str, figure: dict[str, Any]) -> str:
        figures.append(figure)
        return drawn(name, figure)

    records = [record(0, 1, "drain", HOSTILE, task=HOSTILE)]
    found = evidence(nodes=[mine], disruption=told, records=records, summary=summary(residue={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}))
    made = Page(report.page(found, draw, "the library"))
    assert [tag for tag, _attributes in made.elements].count("script") == 2
    assert HOSTILE in made.text
    assert "<script>" not in json.dumps(figures), "plotly reads a few elements in texts"


def test_every_table_has_a_caption_and_headings_of_columns_and_rows() -> None:
    made = page()
    tags = [tag for tag, _attributes in made.elements]
    assert tags.count("table") == tags.count("caption") > 5
    scopes = [attributes.get("scope") for tag, attributes in made.elements if tag == "th"]
    assert set(scopes) == {"col", "row"}
    images = [attributes for _tag, attributes in made.elements if attributes.get("role") == "img"]
    assert images and all(attributes["aria-label"] for attributes in images)


def test_identifiers_are_unique_and_the_page_may_load_nothing() -> None:
    made = page()
    names = [attributes["id"] for _tag, attributes in made.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert not [attributes for _tag, attributes in made.elements if "src" in attributes or "href" in attributes]
    policy = next(attributes["content"] for tag, attributes in made.elements if tag == "meta" and attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_the_same_evidence_makes_the_same_page() -> None:
    assert report.page(evidence(), drawn, "") == report.page(evidence(), drawn, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), ("", "—"), (True, "yes"), (12345, "12,345"), (0.0214, "0.0214"), (1234.5, "1,234"), ({"a": 1, "b": None}, "a 1, b —"), ([], "—"), ("x", "x")],
)
def test_any_value_can_be_read(value: object, text: str) -> None:
    assert report_html.cell(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "—"), (0.44, "0.4 ms"), (120.4, "120 ms"), (9999.0, "9,999 ms"), (21500.0, "21.5 s")])
def test_milliseconds_become_seconds_when_there_are_many(value: float | None, text: str) -> None:
    assert report_html.milliseconds(value) == text


def test_a_hole_in_the_series_is_not_drawn_through() -> None:
    requests = [600] * 10 + [0] * 10 + [600] * 40
    told = series({"pod/dns": (requests, [0] * 60, [0] * 60, [1.0] * 60)})
    figure = report_plots.course(evidence(disruption=disruption(series=told)))
    assert figure
    line = next(trace for trace in figure["data"] if trace["name"] == "requests")
    assert (line["y"].count(None), len(line["x"])) == (1, 51)


def test_requests_and_phases_share_one_axis_of_time() -> None:
    figure = report_plots.course(evidence())
    assert figure
    assert {trace["xaxis"] for trace in figure["data"]} == {"x"}
    assert figure["layout"]["xaxis"]["range"] == ["2026-01-17T09:30:12.000", "2026-01-17T09:31:12.000"]
    drain = next(trace for trace in figure["data"] if trace["name"] == "drain")
    assert (drain["y"], drain["base"], drain["x"]) == (["w1"], ["2026-01-17T09:30:23.000"], [9000.0])


def test_there_is_no_figure_of_nothing() -> None:
    assert report_plots.course(evidence(disruption=None, records=[], nodes=[])) is None
    assert report_plots.rules([node(before={}, after={})]) is None
