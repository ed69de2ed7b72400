"""Sinks: where patches, rejections and late positions end."""
