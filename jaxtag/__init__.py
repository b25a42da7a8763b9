"""Train, compare and use hashtag recommenders in JAX."""

__version__ = "0.1.0"
