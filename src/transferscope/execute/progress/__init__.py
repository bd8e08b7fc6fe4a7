"""Records of a run, and the reporters that follow it."""
