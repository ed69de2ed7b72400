"""Adapters for Prometheus: `query` sends queries to a server, `scrape` exposes metrics to a server."""
