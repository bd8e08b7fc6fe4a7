"""How much each module's weights matter."""
