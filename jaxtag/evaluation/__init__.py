"""Metrics, the evaluator, built-in baselines, paired intervals."""
