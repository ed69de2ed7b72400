"""Figures that a browser draws, and self-contained HTML pages; the only package that imports Bokeh."""
