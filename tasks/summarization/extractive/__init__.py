"""Extractive summarization: the summary is made of sentences of the document."""
