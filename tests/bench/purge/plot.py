# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plot of a benchmark as SVG: seconds over services, both on logarithmic axes, where a straight slope of one is linear."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, PLOT = 460, 400, 60, 50, 300
COLOURS = {"pipeline": "#b45309", "iptables_purge": "#1d4ed8", "iptables_purge, two steps": "#0891b2", "kube-proxy --cleanup": "#7c3aed"}


def draw(rows: Iterable[dict[str, Any]]) -> str:
    """One panel per backend."""
    rows = list(rows)
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    services = [row["services"] for row in rows]
    seconds = [max(row["seconds"], 0.01) for row in rows]
    scale_x = _scale(min(services), max(services), 0, PLOT)
    scale_y = _scale(min(seconds), max(seconds), PLOT, 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(backends)} {HEIGHT + 40}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH * len(backends)}" height="{HEIGHT + 40}" fill="white"/>',
    ]
    for index, backend in enumerate(backends):
        parts.append(f'<g transform="translate({WIDTH * index + LEFT},{TOP})">')
        parts.append(f'<text x="{PLOT / 2}" y="-20" text-anchor="middle" font-weight="bold">{backend} backend: seconds over services</text>')
        parts.append(f'<rect width="{PLOT}" height="{PLOT}" fill="none" stroke="#999"/>')
        for value in sorted(set(services)):
            parts.append(f'<text x="{scale_x(value):.1f}" y="{PLOT + 18}" text-anchor="middle">{value:,}</text>')
        for value in (10.0**power for power in range(-2, 4)):
            if min(seconds) <= value <= max(seconds):
                y = scale_y(value)
                parts.append(f'<line x2="{PLOT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="-8" y="{y + 4:.1f}" text-anchor="end">{value:g} s</text>')
        # What is linear runs along this line.
        first = next((max(row["seconds"], 0.01) for row in rows if (row["backend"], row["method"]) == (backend, "iptables_purge")), min(seconds))
        last = first * max(services) / min(services)
        parts.append(f'<line x1="0" x2="{PLOT}" y1="{scale_y(first):.1f}" y2="{scale_y(last):.1f}" stroke="#777" stroke-dasharray="5 4"/>')
        for method in dict.fromkeys(row["method"] for row in rows):
            points = [(scale_x(row["services"]), scale_y(max(row["seconds"], 0.01))) for row in rows if (row["backend"], row["method"]) == (backend, method)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            colour = COLOURS[method]
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append("</g>")
    x = LEFT
    for method in dict.fromkeys(row["method"] for row in rows):
        parts.append(f'<rect x="{x}" y="{HEIGHT + 8}" width="12" height="12" fill="{COLOURS[method]}"/><text x="{x + 18}" y="{HEIGHT + 18}">{method}</text>')
        x += 60 + 7 * len(method)
    parts.append(f'<line x1="{x}" x2="{x + 24}" y1="{HEIGHT + 14}" y2="{HEIGHT + 14}" stroke="#777" stroke-dasharray="5 4"/>')
    parts.append(f'<text x="{x + 30}" y="{HEIGHT + 18}">linear</text>')
    return "\n".join([*parts, "</svg>", ""])


def _scale(low: float, high: float, start: float, end: float):
    """A logarithmic scale from values to places."""
    span = math.log(high / low) or 1.0
    return lambda value: start + (end - start) * math.log(value / low) / span
