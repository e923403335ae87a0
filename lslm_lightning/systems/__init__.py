"""Systems that can be evaluated, one kind per module; see `contracts.System`."""
