"""Sinks: the last vertices of a pipeline, which store, show or log patches."""
