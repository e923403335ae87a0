"""Language modeling: the probability of running text."""
