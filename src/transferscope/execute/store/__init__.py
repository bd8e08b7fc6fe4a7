"""Results by key, on a disk or an object store."""
