"""Commands, one module each, with `main(argv) -> exit status`. The first element of argv is the
name of the command.
"""
