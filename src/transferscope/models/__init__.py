"""Networks: how they are built, initialized and divided into named modules."""
