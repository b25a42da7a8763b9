"""Search over settings: points of a grid, each cross-validated, and the best of them."""
