"""Published weights: where they come from, how they are checked, converted and loaded."""
