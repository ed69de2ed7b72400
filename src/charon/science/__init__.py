"""Simulation, pre-processing, stitching and measures of quality: NumPy in, NumPy out."""
