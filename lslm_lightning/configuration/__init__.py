"""Settings of experiments: reading config files and command lines, and building objects from
them.
"""
