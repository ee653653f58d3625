"""Which structures to label next: random (paper S0's way) and by uncertainty."""
