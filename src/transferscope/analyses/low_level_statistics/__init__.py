"""Beyond the paper: how much of the gain the statistics of the pre-trained weights give without any feature."""
