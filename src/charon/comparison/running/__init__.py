"""Measurement of one cell: its engine, its detector, and their resources."""

from charon.comparison.running.cell import run_cell

__all__ = ["run_cell"]
