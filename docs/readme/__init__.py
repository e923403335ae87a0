"""Screenshots, transcript, tables and figure of both READMEs, which `make readme` makes."""
