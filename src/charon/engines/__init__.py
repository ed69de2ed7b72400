"""Where a pipeline runs: embedded on one machine, on Numaflow, or as a plain PvaPy baseline."""
