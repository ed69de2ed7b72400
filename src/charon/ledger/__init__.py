"""The account of frames: the pages that vertices write, and the numbers computed from them."""
