"""The papers' tables and figures, made again: which runs make which, and ours beside theirs."""
