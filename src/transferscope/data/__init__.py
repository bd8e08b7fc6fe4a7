"""Images and labels in memory: what a data set gives, how it is shuffled, normalised and cut in batches."""
