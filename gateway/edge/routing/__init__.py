"""Which model, version and backend path a request means, decided once per snapshot as far as possible."""
