"""Classes with which other libraries use the runs of this project."""
