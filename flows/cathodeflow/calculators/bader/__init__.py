"""Bader charges from VASP's density files, by the `bader` program or by pybader."""
