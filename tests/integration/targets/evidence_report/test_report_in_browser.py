# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as the module makes it through Ansible, in a real Chromium: it draws, says nothing, loads nothing, follows light and dark, and prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up
import pytest
from browser import Browser

ROOT = Path(__file__).resolve().parents[4]
PHONE, SCREEN = 390, 1280
A4_WITHOUT_MARGINS = 688  # 182 mm at 96 pixels an inch
PLOTS = "Array.from(document.querySelectorAll('.plotly-graph-div'))"


def module(path: Path, *arguments: str) -> dict[str, Any]:
    """Run the module on this machine as Ansible does; its result."""
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "--connection", "local", "--module-name", "netops.cni_migration.evidence_report"]
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    done = subprocess.run([*command, "--args", f"path={path}", *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return answer


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of four evidences: nothing lost, something lost, no monitor, and neither monitor nor callback."""
    folder = tmp_path_factory.mktemp("evidence")
    made_up.write(folder / "ok")
    made_up.write(folder / "lost", failed=14)
    made_up.write(folder / "unmeasured", monitored=False)
    made_up.write(folder / "bare", monitored=False, timed=False)
    return {name: Path(module(folder / name)["report"]) for name in ("ok", "lost", "unmeasured", "bare")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with Browser() as started:
        yield started


def quiet(browser: Browser, page: Path) -> None:
    """Require that the page had nothing to complain about and asked for nothing but itself."""
    assert browser.complaints == []
    assert {url for url in browser.requests if not url.startswith(("data:", "blob:"))} == {page.resolve().as_uri()}


def test_the_module_writes_it_once(tmp_path: Path) -> None:
    made_up.write(tmp_path)
    assert (module(tmp_path, "--check")["changed"], (tmp_path / "report.html").exists()) == (True, False)
    told = module(tmp_path)
    assert told["changed"] is True
    assert re.fullmatch(r"Migrated\. 0 of [0-9,]+ requests failed; longest gap 180 ms\.", told["verdict"])
    assert module(tmp_path)["changed"] is False


@pytest.mark.parametrize(("name", "plots"), [("ok", 4), ("lost", 4), ("unmeasured", 2), ("bare", 2)])
def test_it_draws_without_a_complaint(browser: Browser, reports: dict[str, Path], name: str, plots: int) -> None:
    browser.show(reports[name], width=SCREEN)
    assert browser.evaluate("document.querySelectorAll('.plotly-graph-div .main-svg').length") >= plots
    assert browser.evaluate(f"{PLOTS}.length") == plots
    assert browser.evaluate(f"{PLOTS}.every(plot => plot.querySelectorAll('.point, .js-line').length >= 3)")
    quiet(browser, reports[name])


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_only_tables_scroll_sideways(browser: Browser, reports: dict[str, Path], width: int) -> None:
    browser.show(reports["lost"], width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(f"{PLOTS}.every(plot => plot.querySelector('.main-svg').getBoundingClientRect().right <= innerWidth)")


def test_it_follows_light_and_dark(browser: Browser, reports: dict[str, Path]) -> None:
    def colours() -> tuple[str, set[str]]:
        browser.settle()
        page = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        return page, set(browser.evaluate(f"{PLOTS}.map(plot => plot.layout.font.color)"))

    browser.show(reports["ok"], scheme="light")
    light = colours()
    browser.prefer("dark")
    dark = colours()
    browser.prefer("light")
    assert light == ("rgb(246, 247, 249)", {"#1c2430"})
    assert dark == ("rgb(18, 22, 28)", {"#e4e9f0"})
    assert colours() == light
    browser.show(reports["ok"], scheme="dark")
    assert colours() == dark
    quiet(browser, reports["ok"])


def test_a_name_that_is_markup_is_only_text(browser: Browser, reports: dict[str, Path]) -> None:
    browser.show(reports["ok"])
    assert made_up.HOSTILE in browser.evaluate("document.body.textContent")
    assert browser.evaluate("document.querySelectorAll('td script, th script, text script').length") == 0


def test_it_prints_in_light_and_no_plot_is_cut(browser: Browser, reports: dict[str, Path], tmp_path: Path) -> None:
    browser.show(reports["ok"], scheme="dark")
    before = browser.evaluate(f"{PLOTS}.map(plot => plot.clientWidth)")
    browser.evaluate("window.printed = []")
    watch = "() => printed.push(...PLOTS.map(plot => [plot.layout.width, plot.layout.font.color]))".replace("PLOTS", PLOTS)
    browser.evaluate(f"addEventListener('beforeprint', {watch})")
    browser.paper(tmp_path / "report.pdf")
    drawn = browser.evaluate("printed")
    assert len(drawn) == len(before)
    assert all(width <= A4_WITHOUT_MARGINS and colour == "#1c2430" for width, colour in drawn)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    browser.settle()
    assert browser.evaluate(f"{PLOTS}.map(plot => plot.clientWidth)") == before
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    quiet(browser, reports["ok"])
