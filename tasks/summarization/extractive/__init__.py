"""Extractive summarization: the summary consists of sentences of the document."""
