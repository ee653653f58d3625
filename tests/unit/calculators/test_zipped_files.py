from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cathodeflow.calculators.zipped_files import DAMAGED, content_of, existing, opened


def test_a_file_is_the_same_before_and_after_it_is_zipped(tmp_path: Path) -> None:
    content = b"EDIFF = 1E-6\n" * 999
    plain, zipped = tmp_path / "INCAR", tmp_path / "INCAR.gz"
    assert existing(tmp_path, "INCAR") == plain, "the name to complain of where there is none"
    zipped.write_bytes(gzip.compress(content))
    assert existing(tmp_path, "INCAR") == zipped
    plain.write_bytes(content)
    assert existing(tmp_path, "INCAR") == plain
    for path in (plain, zipped):
        with opened(path) as stream:
            assert stream.read() == content_of(path) == content


@pytest.mark.parametrize("where", [0, 12, 40, -6])
def test_damage_anywhere_is_one_of_three_errors_or_the_file_as_it_stands(tmp_path: Path, where: int) -> None:
    whole = bytearray(gzip.compress(bytes(range(256)) * 99))
    whole[where] ^= 0xFF
    path = tmp_path / "WAVECAR.gz"
    path.write_bytes(bytes(whole))
    with pytest.raises(DAMAGED), opened(path) as stream:
        stream.read()
    if where:
        with pytest.raises(DAMAGED):
            content_of(path)
    else:
        assert content_of(path) == bytes(whole), "no gzip any more: its reader says what is wrong with it"
