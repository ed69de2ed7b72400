"""The account of frames: which frame ids reached which state, per vertex and for a whole run."""
