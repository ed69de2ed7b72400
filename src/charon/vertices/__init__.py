"""Source, inference and sinks: plain Python, no engine in sight."""
