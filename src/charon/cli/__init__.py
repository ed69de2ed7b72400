"""charonctl and charon-vertex: thin commands over the engines and the vertices."""
