"""What the electrons of a crystal say: band edges, densities of states, bonds, atomic charges, charge density."""
