"""What a training step will take, found by compiling it and running nothing."""
