"""Meshes and logical sharding rules."""
