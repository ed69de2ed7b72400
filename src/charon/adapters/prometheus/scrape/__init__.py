"""The metrics that Charon serves for Prometheus to scrape."""
