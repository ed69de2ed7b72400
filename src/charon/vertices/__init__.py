"""Source, inference and sinks, independent of the engine that runs them."""
