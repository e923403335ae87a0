"""Server that answers requests with trained runs: HTTP in one process, the models in another."""
