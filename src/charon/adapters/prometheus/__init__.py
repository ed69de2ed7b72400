"""Prometheus: `query` sends queries to a server, `scrape` exposes metrics for one to scrape."""
