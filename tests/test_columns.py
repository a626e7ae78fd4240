"""The columns of a DiaSource, and their two names."""

from __future__ import annotations

import re

import pytest

from l1db.columns import (
    APDB_DIA_SOURCE,
    APDB_NAMES,
    ASSIGNED,
    BY_NAME,
    DIA_SOURCE,
    DTYPES,
    GIVEN,
    L1DB_DIA_SOURCE,
    PER_DETECTOR,
    REQUIRED,
)
from l1db.names import to_camel, to_snake


def test_there_are_all_103_columns_of_apdb_10() -> None:
    assert len(APDB_DIA_SOURCE) == 103
    assert len({column.apdb_name for column in APDB_DIA_SOURCE}) == 103


def test_names_map_both_ways() -> None:
    for column in APDB_DIA_SOURCE:
        assert to_snake(column.apdb_name) == column.name
        assert to_camel(column.name) == column.apdb_name
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", column.name), "psql would need quotes, or two underscores"
    assert len(BY_NAME) == len(DIA_SOURCE) == 103 + len(L1DB_DIA_SOURCE)


def test_snake_case_stays_as_it_is() -> None:
    for column in DIA_SOURCE:
        assert to_snake(column.name) == column.name


@pytest.mark.parametrize(
    ("apdb", "ours"),
    [
        ("diaSourceId", "dia_source_id"),
        ("psfFluxMeanErr", "psf_flux_mean_err"),
        ("ixxPSF", "ixx_psf"),
        ("ra_dec_Cov", "ra_dec_cov"),
        ("psfLnL", "psf_ln_l"),
        ("psfChi2", "psf_chi2"),
        ("forced_PsfFlux_flag_noGoodPixels", "forced_psf_flux_flag_no_good_pixels"),
        ("pixelFlags_crCenter", "pixel_flags_cr_center"),
        ("timeProcessedMjdTai", "time_processed"),
        ("validityStartMjdTai", "validity_start"),
        ("midpointMjdTai", "midpoint_mjd_tai"),
        ("MPCORBDesignation", "mpcorb_designation"),
    ],
)
def test_the_mapping_is_mechanical_but_for_processing_times(apdb: str, ours: str) -> None:
    assert to_snake(apdb) == ours


def test_what_is_l1dbs_own_has_no_name_in_apdb() -> None:
    for column in L1DB_DIA_SOURCE:
        assert column.name not in APDB_NAMES
        with pytest.raises(KeyError):
            to_camel(column.name)


def test_every_column_is_given_or_assigned_or_said_once() -> None:
    given = {column.name for column in GIVEN}
    assert given.isdisjoint(ASSIGNED)
    assert given.isdisjoint(PER_DETECTOR)
    assert given | set(ASSIGNED) | set(PER_DETECTOR) == set(BY_NAME)
    assert set(REQUIRED) <= given | set(PER_DETECTOR)


def test_every_given_column_can_be_encoded() -> None:
    for column in GIVEN:
        assert column.sql_type in DTYPES
