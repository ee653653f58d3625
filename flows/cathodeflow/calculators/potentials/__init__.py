"""Interatomic potentials: relaxation, elemental references and the soundness of what comes out."""
