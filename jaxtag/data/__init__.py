"""From a dataset folder to batches: columns, order, vocabulary, text."""
