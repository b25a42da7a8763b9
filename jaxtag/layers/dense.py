"""A dense layer with Glorot weights, zero biases and the logical axes of the house."""

import flax.linen as nn


def dense(width: int, name: str) -> nn.Dense:
    """`x W + b` with W `[e, width]` split as ("embed", "hidden")."""
    return nn.Dense(
        width, name=name,
        kernel_init=nn.with_logical_partitioning(nn.initializers.glorot_uniform(), ("embed", "hidden")),
        bias_init=nn.with_logical_partitioning(nn.initializers.zeros_init(), ("hidden",)),
    )
