"""Systems under evaluation, one kind in each file; see `contracts.System`."""
