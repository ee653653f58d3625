"""ACF.dat is read whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.calculators.bader.acf import read_acf
from cathodeflow.errors import CalculationError

TEXT = """    #         X           Y           Z       CHARGE      MIN DIST   ATOMIC VOL
 --------------------------------------------------------------------------------
    1    0.000000    0.000000    0.000000    7.123456     1.234567    12.345678
    2    1.500000    1.500000    1.500000    0.876544     0.000000    20.654322
 --------------------------------------------------------------------------------
    VACUUM CHARGE:               0.0000
    VACUUM VOLUME:               0.0000
    NUMBER OF ELECTRONS:         8.0000
"""


def test_a_whole_file_gives_its_numbers(tmp_path):
    path = tmp_path / "ACF.dat"
    path.write_text(TEXT)
    charges = read_acf(path)
    assert charges.electrons.tolist() == [7.123456, 0.876544]
    assert charges.volumes.tolist() == [12.345678, 20.654322]
    assert charges.min_distances[0] == 1.234567
    assert np.isnan(charges.min_distances[1])


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(TEXT) - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("acf") / "ACF.dat"
    path.write_text(TEXT[:cut])
    with pytest.raises(CalculationError):
        read_acf(path)


@pytest.mark.parametrize(("old", "new"), [("7.123456", "6.123456"), ("7.123456", "********"), ("    2  ", "    3  ")])
def test_a_damaged_number_is_refused(tmp_path, old, new):
    path = tmp_path / "ACF.dat"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(CalculationError):
        read_acf(path)
