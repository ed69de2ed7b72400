"""Comparison of the pipeline with the PvaPy baseline: plan, measurement, statistics, results and report."""
