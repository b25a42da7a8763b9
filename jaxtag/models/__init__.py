"""One neural architecture a file: linen modules, nothing else."""
