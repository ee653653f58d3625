"""INCAR as VASP reads it: the first of two equal tags counts, unknown tags are ignored, bad values stop the run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cathodeflow.errors import CalculationError

DEFAULTS: dict[str, bool | int | float | str] = {
    "SYSTEM": "unknown system",
    "PREC": "normal",
    "ENCUT": 400.0,
    "EDIFF": 1e-4,
    "ALGO": "Normal",
    "ISMEAR": 1,
    "SIGMA": 0.2,
    "KSPACING": 0.5,
    "KGAMMA": True,
    "LREAL": "F",
    "ISTART": 0,
    "ICHARG": 2,
    "ISPIN": 1,
    "LNONCOLLINEAR": False,
    "LSORBIT": False,
    "LASPH": False,
    "NELM": 60,
    "NELMIN": 2,
    "NELMDL": -5,
    "NSW": 0,
    "ISIF": 2,
    "POTIM": 0.5,
    "NFREE": 0,
    "PSTRESS": 0.0,
    "TEBEG": 0.0,
    "TEEND": 0.0,
    "NBLOCK": 1,
    "ISYM": 2,
    "SYMPREC": 1e-5,
    "LORBIT": 0,
    "NEDOS": 301,
    "LWAVE": True,
    "LCHARG": True,
    "LAECHG": False,
    "LVTOT": False,
    "LVHAR": False,
    "LELF": False,
    "LOPTICS": False,
    "LEPSILON": False,
    "LHFCALC": False,
    "AEXX": 0.0,
    "HFSCREEN": 0.0,
    "PRECFOCK": "",
    "GGA": "--",
    "METAGGA": "--",
    "LUSE_VDW": False,
    "IVDW": 0,
    "LDAU": False,
    "LDAUTYPE": 2,
    "LDAUPRINT": 0,
    "LMAXMIX": 2,
    "AMIX": 0.4,
    "BMIX": 1.0,
    "AMIN": 0.1,
    "LCHIMAG": False,
    "ADDGRID": False,
    "NCORE": 1,
    "KPAR": 1,
}
"""What VASP takes where INCAR is silent (tags this stand-in uses or passes on)."""

INTEGERS = frozenset({"NBANDS", "NUPDOWN", "IBRION", "NGXF", "NGYF", "NGZF", "NPAR", "NSIM", "ISEARCH", "IMIX"})
FLOATS = frozenset({"EDIFFG", "NELECT", "TIME", "ENAUG", "AMIX_MAG", "BMIX_MAG", "EMIN", "EMAX"})
LISTS = frozenset({"MAGMOM", "LDAUU", "LDAUJ", "LDAUL", "RWIGS"})
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_0-9/]+)\s*=\s*(.*)\Z", re.DOTALL)

Value = bool | int | float | str | list[float]


@dataclass(frozen=True)
class Incar:
    """The tags of an INCAR.

    Attributes
    ----------
    given : dict of str to value
        What stands in the file, in its order, names in upper case.
    """

    given: dict[str, Value]

    def get(self, tag: str) -> Value:
        """Return a tag's value, or VASP's default."""
        return self.given.get(tag, DEFAULTS.get(tag, ""))

    def number(self, tag: str) -> float:
        """Return a numeric tag."""
        value = self.get(tag)
        assert isinstance(value, (int, float))
        return float(value)

    def integer(self, tag: str) -> int:
        """Return an integer tag."""
        return round(self.number(tag))

    def switch(self, tag: str) -> bool:
        """Return a logical tag."""
        return self.get(tag) is True

    def numbers(self, tag: str) -> list[float]:
        """Return a list tag, empty where it is absent."""
        value = self.given.get(tag, [])
        return value if isinstance(value, list) else []

    @property
    def ibrion(self) -> int:
        """How the ions move; VASP takes -1 where no step is asked for."""
        if "IBRION" in self.given:
            return self.integer("IBRION")
        return -1 if self.integer("NSW") in {-1, 0} else 0

    @property
    def ediffg(self) -> float:
        """When a relaxation ends: below 0 the largest force, eV/Å, above 0 the energy change, eV."""
        return self.number("EDIFFG") if "EDIFFG" in self.given else 10 * self.number("EDIFF")


def parse_incar(text: str) -> Incar:
    r"""Read the text of an INCAR.

    Parameters
    ----------
    text : str
        Lines of ``TAG = value``; ``;`` separates tags, ``\`` continues a line, ``#`` and ``!`` begin a comment.

    Returns
    -------
    Incar

    Raises
    ------
    CalculationError
        A value that its tag cannot take; the message is VASP's.
    """
    given: dict[str, Value] = {}
    text = re.sub(r"\\\s*\n", " ", text)
    for line in text.splitlines():
        for statement in re.split(r"[#!]", line)[0].split(";"):
            match = _ASSIGNMENT.match(statement)
            if match is None:
                continue
            tag = match[1].upper()
            if tag not in given:
                given[tag] = _value(tag, match[2].strip())
    return Incar(given)


def _value(tag: str, text: str) -> Value:
    default = DEFAULTS.get(tag)
    try:
        if tag in LISTS:
            return _numbers(text)
        if isinstance(default, bool):
            return _logical(text)
        if tag in INTEGERS or isinstance(default, int):
            return int(text.split(maxsplit=1)[0])
        if tag in FLOATS or isinstance(default, float):
            return float(text.split(maxsplit=1)[0].lower().replace("d", "e"))
    except (ValueError, IndexError) as error:
        raise CalculationError(
            f" Error reading item '{tag}' from file INCAR.\n Error code was IERR= 5 ... {text!r} cannot be read",
            "refused",
        ) from error
    return text


def _logical(text: str) -> bool:
    letter = text.strip(".").lower()[:1]
    if letter not in {"t", "f"}:
        raise ValueError(text)
    return letter == "t"


def _numbers(text: str) -> list[float]:
    values: list[float] = []
    for word in text.split():
        count, star, value = word.partition("*")
        values += [float(value)] * int(count) if star else [float(word)]
    return values
