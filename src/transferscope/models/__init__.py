"""Networks: how they are built, initialized, and divided in named modules."""
