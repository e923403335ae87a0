"""One file a command. Each has `main(argv) -> exit status`, argv beginning with the command's own
name.
"""
