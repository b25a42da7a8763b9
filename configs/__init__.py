"""Recipes: one short function a named experiment."""
