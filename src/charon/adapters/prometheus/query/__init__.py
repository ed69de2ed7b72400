"""Queries to a Prometheus server and the files that they are saved to."""
