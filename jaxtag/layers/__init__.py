"""Blocks shared by the models."""
