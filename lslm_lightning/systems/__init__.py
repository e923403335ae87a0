"""Systems under evaluation, one kind a file; see `contracts.System`."""
