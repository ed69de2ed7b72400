"""Adapters for third-party systems: each system is imported by one package only."""
