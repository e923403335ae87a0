"""Question answering: the answer stands in a passage, or nowhere."""
