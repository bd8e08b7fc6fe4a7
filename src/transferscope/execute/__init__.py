"""Running the tasks of a graph."""
