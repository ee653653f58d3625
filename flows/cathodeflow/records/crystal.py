"""A crystal as the store keeps it: a twentieth of pymatgen's own dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.records.document import Part

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Crystal(Part):
    """An ordered periodic structure.

    Attributes
    ----------
    lattice : list of 3 lists of 3 floats
        Lattice vectors as rows, Å.
    species : list of str
        Element symbol per site.
    fractional_coordinates : list of lists of 3 floats
        Per site.
    """

    lattice: list[list[float]]
    species: list[str]
    fractional_coordinates: list[list[float]]

    @classmethod
    def from_structure(cls, structure: Structure) -> Crystal:
        """Keep an ordered pymatgen structure."""
        return cls(
            lattice=structure.lattice.matrix.tolist(),
            species=[site.specie.symbol for site in structure],
            fractional_coordinates=structure.frac_coords.tolist(),
        )

    def to_structure(self) -> Structure:
        """Return the pymatgen structure."""
        from pymatgen.core import Structure

        return Structure(self.lattice, self.species, self.fractional_coordinates)
