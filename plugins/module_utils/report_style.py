# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the report looks: one style sheet for light, dark, phone and paper, and the script that makes the plots follow it."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1c2430; --muted: #5a6675; --line: #dde2e9; --zebra: #f8f9fb;
  --good: #1f7a4d; --bad: #b3261e; --unsure: #8a5a00; --good-soft: #e3f3ea; --bad-soft: #fbe6e4; --unsure-soft: #fbf0d9;
}
@media screen and (prefers-color-scheme: dark) {
  :root:not([data-print]) {
    --page: #12161c; --card: #1a2029; --text: #e4e9f0; --muted: #9ba7b6; --line: #2d3642; --zebra: #1e252f;
    --good: #6fcf97; --bad: #f28b82; --unsure: #f0bf5f; --good-soft: #17332a; --bad-soft: #3d2022; --unsure-soft: #3a2e17;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 1160px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; padding-bottom: 8px; }
h1 { font-size: 1.75rem; line-height: 1.3; margin: 12px 0 8px; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 0 0 4px; }
h3 { font-size: 1rem; margin: 24px 0 4px; }
p { margin: 4px 0 12px; max-width: 92ch; }
p, li, dd, td, th, h1 { overflow-wrap: break-word; }
.muted, caption, footer { color: var(--muted); }
.badge { display: inline-block; padding: 2px 12px; border-radius: 999px; font-size: .85rem; font-weight: 600; }
.good { color: var(--good); background: var(--good-soft); }
.bad { color: var(--bad); background: var(--bad-soft); }
.unsure { color: var(--unsure); background: var(--unsure-soft); }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0 0; }
.key div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.key dt { font-size: .85rem; color: var(--muted); }
.key dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.35; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px 24px; margin: 20px 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 8px 24px; }
.plots > div { min-width: 0; }
figure { margin: 12px 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .9rem; margin-bottom: 4px; }
.scroll { overflow-x: auto; margin: 8px 0 16px; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--muted); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
caption { text-align: left; padding: 0 0 6px; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
td, tbody th, tfoot th { min-width: 5ch; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; overflow-wrap: normal; }
tbody th { font-weight: 500; white-space: nowrap; }
tfoot th, tfoot td { font-weight: 600; }
.name { white-space: nowrap; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .figure { white-space: normal; }
summary { cursor: pointer; padding: 4px 0; }
ul { padding-left: 20px; margin: 4px 0 12px; }
footer { padding: 4px 24px 40px; font-size: .85rem; }
@media (max-width: 600px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; }
  header { padding-top: 20px; }
  h1 { font-size: 1.35rem; }
  section { padding: 16px 12px; }
  .key { grid-template-columns: 1fr 1fr; }
  .key div { padding: 8px 12px; }
  .key dd { font-size: 1.15rem; }
  .scroll table { min-width: max-content; }
  .scroll td, .scroll th { max-width: 240px; }
  caption span { position: sticky; left: 0; display: inline-block; max-width: calc(100vw - 50px); }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { background: none; font-size: 10pt; }
  main, header, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 12px 0 0; margin: 16px 0 0; }
  header { padding-top: 0; }
  h1 { font-size: 18pt; margin-top: 0; }
  .key { grid-template-columns: repeat(6, 1fr); margin-top: 12px; }
  .key div { padding: 6px 8px; }
  .key dd { font-size: 12pt; }
  .key dt { font-size: 8pt; }
  p, figure, .key, tr, .few { break-inside: avoid; }
  h2, h2 + p, h3, caption, figcaption, summary, thead { break-after: avoid; }
  .plots { display: block; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: 3px 8px 3px 0; }
  .screen { display: none; }
}
"""

# A figure has the width it was drawn with, so for paper it is drawn anew, and with the light colours.
SCRIPT = """
(function () {
  "use strict";
  var PAPER_WIDTH = 680;
  var root = document.documentElement;
  var plots = Array.from(document.querySelectorAll(".plotly-graph-div"));
  var closed = [];

  function paint(width) {
    var style = getComputedStyle(root);
    var colour = function (name) { return style.getPropertyValue(name).trim(); };
    plots.forEach(function (plot) {
      var change = {
        "font.color": colour("--text"),
        "hoverlabel.bgcolor": colour("--card"), "hoverlabel.bordercolor": colour("--line"), "hoverlabel.font.color": colour("--text"),
        "width": width
      };
      Object.keys(plot.layout).forEach(function (key) {
        if (/^[xy]axis/.test(key)) {
          change[key + ".gridcolor"] = change[key + ".linecolor"] = change[key + ".zerolinecolor"] = colour("--line");
          change[key + ".dividercolor"] = colour("--line");
          change[key + ".tickfont.color"] = colour("--muted");
        }
      });
      Plotly.relayout(plot, change);
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { paint(null); });
  addEventListener("beforeprint", function () {
    root.setAttribute("data-print", "");
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    closed.forEach(function (each) { each.open = true; });
    paint(PAPER_WIDTH);
  });
  addEventListener("afterprint", function () {
    root.removeAttribute("data-print");
    closed.forEach(function (each) { each.open = false; });
    paint(null);
  });
  paint(null);
}());
"""
