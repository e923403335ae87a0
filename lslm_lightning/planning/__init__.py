"""Estimates of the memory, speed, time and cost of a training, without training."""
