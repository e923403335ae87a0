"""Corpora: lookup by name, download, verification, reading of rows."""
