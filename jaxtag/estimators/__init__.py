"""Methods fitted without a gradient, or ranking hashtags never trained on, as pure functions.

Each gives `query`, posts to `[B, d]`, and `table`, hashtags' vectors to `[C, d]`: their products are the scores.
"""
