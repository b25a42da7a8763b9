"""One small module a verb of `jaxtag-prep`: SUMMARY, EXAMPLES, `options(parser)` and `run(arguments)`."""
