"""Stand-ins for licensed programs: same inputs, same files, energies of a potential."""
