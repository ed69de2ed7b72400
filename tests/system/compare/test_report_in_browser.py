"""The report in a real browser: no error, no request, every figure drawn."""

from __future__ import annotations

import pytest

import synthetic_comparison
from charon.comparison.report import write_report
from chromium import chromium

pytestmark = [pytest.mark.system, pytest.mark.slow]

# Canvases are in shadow trees. For each figure: pixels that are drawn, and pixels that have a colour.
FIGURES = """(() => {
  const canvases = node => [
    ...(node.tagName === "CANVAS" ? [node] : []),
    ...[...node.childNodes, ...(node.shadowRoot ? node.shadowRoot.childNodes : [])].flatMap(canvases)];
  return [...document.querySelectorAll("[data-figure]")].map(slot => {
    let drawn = 0, colored = 0, width = 0;
    for (const canvas of canvases(slot)) {
      if (!canvas.width || !canvas.height) continue;
      width = Math.max(width, canvas.getBoundingClientRect().width);
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] < 40) continue;
        drawn++;
        const rgb = [pixels[i], pixels[i + 1], pixels[i + 2]];
        if (Math.max(...rgb) - Math.min(...rgb) > 60) colored++;
      }
    }
    return {name: slot.dataset.figure, drawn, colored, width};
  });
})()"""
SECTIONS = {
    "sides", "throughput", "scaling", "latency", "quantiles", "ratios", "loss", "overload", "recovery", "cpu",
    "memory", "noise",
}  # fmt: skip
DRAWN = "document.documentElement?.dataset.figures"
MODEL = '<img src="x" onerror="throw 1"> $$x^2$$'


TEXT = """(node => {
  const text = node => [...node.childNodes, ...(node.shadowRoot ? node.shadowRoot.childNodes : [])]
    .map(child => child.nodeType === Node.TEXT_NODE ? child.data : text(child)).join(" ");
  return text(node);
})"""
POINT = """(() => {
  const slot = document.querySelector('[data-figure="scaling-1"]');
  slot.scrollIntoView({block: "center"});
  const view = [...Bokeh.index].find(found => slot.contains(found.el));
  const box = view.el.getBoundingClientRect();
  const data = view.model.renderers.find(found => found.name === "Pipeline").data_source.data;
  return [box.x + view.frame.x_scale.compute(data.x[0]), box.y + view.frame.y_scale.compute(data.y[0]), data.y[0]];
})()"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    plan = synthetic_comparison.plan(rates_hz=[50.0, 300.0], models=[MODEL], replicas=[1], duration_s=3.0)
    first = synthetic_comparison.write_comparison(folder / "a", plan)
    synthetic_comparison.add_unusable(first)
    second = synthetic_comparison.write_comparison(folder / "b", plan, slowdown=1.3, seed=2)
    write_report(first, folder / "report.html", other=second)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def wide(browser, report):
    """Open the report in a wide window."""
    browser.open(report.as_uri(), width=1200)
    browser.wait_until(DRAWN)
    return browser


def check_figures(page, report, width):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    figures = page.evaluate(FIGURES)
    assert {figure["name"].rpartition("-")[0] for figure in figures} == SECTIONS
    assert not [figure for figure in figures if figure["drawn"] < 500 or figure["colored"] < 20]
    assert not [figure for figure in figures if not 200 < figure["width"] <= width]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.errors() == []
    assert page.requests() == [report.as_uri()]


def test_every_figure_is_drawn(wide, report):
    check_figures(wide, report, 1200)


def test_title_verdict_and_tables_are_present(wide):
    assert wide.evaluate("document.title") == "Pipeline and PvaPy baseline compared"
    assert wide.evaluate("document.querySelector('h1').innerText") == "Pipeline and PvaPy baseline compared"
    assert wide.evaluate("document.querySelectorAll('.verdict p strong').length") == 5
    assert wide.evaluate("document.querySelectorAll('table.guide tbody tr').length") == 18
    assert "not measured" not in wide.evaluate("document.querySelector('#guide').innerText")
    assert wide.evaluate("document.querySelectorAll('#cells tbody tr').length") > 40
    assert "other work used 0.91 cores" in wide.evaluate("document.querySelector('#excluded').innerText")


def test_text_from_files_is_not_markup(wide):
    assert wide.evaluate("document.querySelectorAll('img, main b').length") == 0
    assert "<b>first</b>" in wide.evaluate("document.querySelector('#repeat pre').innerText")
    assert "onerror" in wide.evaluate("document.querySelector('.verdict').innerText")


def test_values_appear_under_the_pointer(wide):
    x, y, rate = wide.evaluate(POINT)
    # The first movement enters the figure.
    for step in (3, 0):
        wide.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - step, y=y)
    wide.wait_until(f"""{TEXT}(document.querySelector('[data-figure="scaling-1"]')).includes("{rate:g}")""")


def test_every_figure_fits_on_a_phone(wide, report):
    wide.open(report.as_uri(), width=390, dark=True)
    wide.wait_until(DRAWN)
    check_figures(wide, report, 390)


def test_a_report_is_small_enough_to_send(report):
    assert report.stat().st_size < 5_000_000
