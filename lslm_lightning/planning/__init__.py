"""Memory, speed, time and cost of a training, without training."""
