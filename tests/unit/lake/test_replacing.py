"""A lake's table is made equal to another lake's, in one commit, where it differs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleetlake.canonical import Digest
from fleetlake.errors import FleetlakeError
from fleetlake.lake import Lake
from fleetlake.lake.replacing import remove, replace_with

from tests.warehouse.samples import contract, ride, table

OF = contract("rides")


def filled(folder, rides, load_id="L1", of=OF):
    lake = Lake(str(folder))
    lake.publish(of, table(of, rides), load_id)
    return lake


def rows(lake, of=OF):
    return Digest.of(lake.rows(of))


RIDES = [ride(f"r{number}", 1, 24 * day + number % 20) for day in range(3) for number in range(day * 50, day * 50 + 50)]


def test_only_the_days_that_differ_are_written_in_one_commit(tmp_path: Path) -> None:
    right = filled(tmp_path / "right", RIDES)
    wrong = filled(tmp_path / "wrong", [*RIDES[:100], ride("false", 1, 30)])
    version = wrong.version(OF)
    replaced = replace_with(wrong, OF, right)
    assert (replaced.parts, replaced.of) == (2, 3)
    assert replaced.rows == 100
    assert rows(wrong) == rows(right)
    assert wrong.version(OF) == version + 1


def test_what_is_equal_is_not_written(tmp_path: Path) -> None:
    right, same = filled(tmp_path / "right", RIDES), filled(tmp_path / "same", list(reversed(RIDES)))
    version = same.version(OF)
    assert replace_with(same, OF, right).parts == 0
    assert same.version(OF) == version


def test_a_missing_table_is_made_and_one_without_rows_is_emptied(tmp_path: Path) -> None:
    right, new = filled(tmp_path / "right", RIDES), Lake(str(tmp_path / "new"))
    assert replace_with(new, OF, right).rows == len(RIDES)
    assert rows(new) == rows(right)
    assert replace_with(new, OF, Lake(str(tmp_path / "nothing"))).parts == 3
    assert rows(new).rows == 0
    assert replace_with(Lake(str(tmp_path / "a")), OF, Lake(str(tmp_path / "b"))).of == 0


def test_a_lake_is_removed_and_may_be_missing(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", RIDES[:3])
    remove(lake)
    assert not (tmp_path / "lake").exists()
    remove(lake)


def test_a_source_that_cannot_be_read_ends_the_writing_and_leaves_the_table(tmp_path: Path) -> None:
    right, wrong = filled(tmp_path / "right", RIDES), filled(tmp_path / "wrong", RIDES[:10])
    before = rows(wrong)
    for file in (tmp_path / "right").rglob("*.parquet"):
        file.write_bytes(b"no parquet")
    with pytest.raises(FleetlakeError, match="lake"):
        replace_with(wrong, OF, right)
    assert rows(wrong) == before


def test_a_folder_with_a_space_in_its_name_is_a_folder_like_others(tmp_path: Path) -> None:
    right, new = filled(tmp_path / "the right one", RIDES[:3]), Lake(str(tmp_path / "a new one"))
    replace_with(new, OF, right)
    assert rows(new) == rows(right)
