"""What callers hand over: arguments, networks, state dicts; checked, guarded and read in one place."""
