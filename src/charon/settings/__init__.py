"""Settings from the environment: typed, checked and immutable.

`charon.settings.environment` is the only module that reads or sets environment variables.
"""
