"""How fast jaxtag is, against others doing the same work."""
