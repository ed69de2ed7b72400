"""Prometheus, both ways: asking one for what it has kept, and being scraped by one."""
