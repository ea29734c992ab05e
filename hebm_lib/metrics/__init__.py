"""One file per protocol. Each takes a model and data and returns numbers; none knows a plot, a page or a baseline."""
