"""Commands, one file each, with `main(argv) -> exit status`; argv begins with the command's
name.
"""
