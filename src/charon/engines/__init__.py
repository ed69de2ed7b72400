"""Engines that run a pipeline, embedded on one machine or on Numaflow, and the cluster seen from outside."""
