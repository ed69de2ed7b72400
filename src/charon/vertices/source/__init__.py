"""The source vertex: from a detector channel to the inter-step buffer."""
