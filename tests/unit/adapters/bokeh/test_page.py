"""Pages: self-contained, and safe against text from files."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from charon.adapters.bokeh.charts import Chart, Curve, draw
from charon.adapters.bokeh.markup import element
from charon.adapters.bokeh.page import render_page, slot
from charon.adapters.bokeh.style import Axis

EVIL = "</script><script>alert(1)</script>"


def page(label="pipeline", title="Report"):
    figure = draw(Chart([Curve(label, "#0f7cc0", [1, 2], [3, 4])], Axis("x (s)"), Axis("y (ms)")))
    return render_page(title, element("main", slot("first")), {"first": figure})


def scripts(html):
    return re.findall(r"<script>(.*?)</script>", html, re.DOTALL)


def test_a_page_needs_nothing_else():
    html = page()
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:)", html)
    assert "default-src 'none'" in html


def test_the_policy_allows_the_scripts_of_the_page():
    html = page()
    allowed = set(re.findall(r"'sha256-([^']+)'", html.split("</head>", 1)[0]))
    found = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts(html)}
    assert found == allowed != set()


def test_only_the_core_of_bokeh_is_included():
    assert len(page()) < 1_600_000


def test_figures_are_data_of_their_slot():
    html = page()
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert list(json.loads(data)) == ["first"]
    assert 'data-figure="first"' in html


def test_text_cannot_end_a_script():
    html = page(label=EVIL, title=EVIL)
    assert EVIL not in html
    assert scripts(html) == scripts(page())
    assert "&lt;/script&gt;" in html.split("</title>", 1)[0]
