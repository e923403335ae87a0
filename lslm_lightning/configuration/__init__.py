"""Settings of experiments: from files and command lines to objects."""
