"""Question answering: the answer is a span of a passage, or there is none."""
