"""Corpora by name: found, fetched, verified, read as rows of text; and how rows become batches."""
