"""``l1db check --deep``: nothing is found in a sound database, and each kind of damage by its own name, and alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData, Visit, code
from l1db.database import change_survey
from l1db.invariants import Verdict, check_deep, verdicts
from l1db.visit import ImageFile, Measured
from tests.command_line import l1db
from tests.concurrency.workers import ingest_at_once
from tests.conftest import Server
from tests.sky_fields import calls_by_detector, field

ARCSEC = 1 / 3600
FOOTPRINT = [(29.9, -5.1), (30.3, -5.1), (30.3, -4.9), (29.9, -4.9)]
FILE = ImageFile("difference", "/images/d.fits", bytes(32), 2880)
NAMES = sorted(file.stem for file in code.files() if file.parent.name == "check" and file.stem.startswith("broken_"))
SKY = field((210.0, 12.0), side=4)

# Damage of each kind, done so that all else agrees with it.  ``outlived`` is a row of an object whose history window
# begins after it, so that nothing counts it; ``plain`` a version that was closed in its small cell by a forced
# measurement.
NAMED = """
    create temp view outlived as
    select s.* from l1.dia_source s join l1.dia_object o using (dia_object_id)
     where s.midpoint_mjd_tai < o.last_dia_source_mjd_tai - 100;
    create temp view retired as
    select dia_object_id from l1.dia_object_history where retired_reason is not null;
    create temp view plain as
    select h.* from l1.dia_object_history h
      join l1_api.dia_object_version v on v.dia_object_id = h.dia_object_id and v.validity_start = h.validity_end
     where l1_api.small_cell(h.ra, h.dec) = l1_api.small_cell(v.ra, v.dec) and v.validity_end is not null
       and not exists (select from l1.dia_source s where s.dia_object_id = h.dia_object_id and not s.is_forced
                          and s.validity_start = h.validity_end);
    create temp view breaker as
    select * from l1.dia_source where no_object_reason = 'breaker';
    create function pg_temp.after(timestamptz) returns timestamptz language sql as
    $$ select min(stamp) from l1.stamp where stamp > $1 $$;
    create function pg_temp.before(timestamptz) returns timestamptz language sql as
    $$ select max(stamp) from l1.stamp where stamp < $1 $$;
"""
FIRST = "(select min(dia_object_id) from l1.dia_object where n_dia_sources > 2)"
LAST_ALERT = "(select max(alert_id) from l1.alert where kind = '{}' and stamp not in (select stamp from l1.correction))"
LAST_RETRACTION = "(select max(alert_id) from l1.alert where kind = 'retraction')"
PLANTED: dict[str, dict[str, str]] = {
    "broken_object_versions": {
        "an overlap": """update l1.dia_object_history h set validity_end = pg_temp.after(h.validity_end) from plain
                          where (h.dia_object_id, h.validity_start) = (plain.dia_object_id, plain.validity_start)""",
        "a gap": """update l1.dia_object_history h set validity_end = pg_temp.before(h.validity_end) from plain
                     where (h.dia_object_id, h.validity_start) = (plain.dia_object_id, plain.validity_start)
                       and pg_temp.before(h.validity_end) > h.validity_start""",
        "an end without reason": "update l1.dia_object_history set retired_reason = null where redirect_to is null",
        "an end before the beginning": """
            alter table l1.dia_object_history drop constraint dia_object_history_validity_check;
            update l1.dia_object_history h set validity_end = h.validity_start
              from plain join l1.dia_object_history former
                on former.dia_object_id = plain.dia_object_id and former.validity_end = plain.validity_start
             where (h.dia_object_id, h.validity_start) = (plain.dia_object_id, plain.validity_start)""",
    },
    "broken_band_versions": {
        "an overlap": f"""update l1.dia_object_band_history set validity_end = pg_temp.after(validity_end)
                           where dia_object_id = {FIRST} and band = 'r'""",
        "a gap": f"""update l1.dia_object_band_history set validity_end = pg_temp.before(validity_end)
                      where dia_object_id = {FIRST} and pg_temp.before(validity_end) > validity_start""",
        "of a retired object": """
            insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_ndata)
            select dia_object_id, 'r', (select max(stamp) from l1.stamp), 1 from retired""",
    },
    "broken_source_versions": {
        "an overlap": """update l1.dia_source_history set validity_end = pg_temp.after(validity_end)
                          where closed_reason = 'revised'""",
        "a gap": """update l1.dia_source_history set validity_end = pg_temp.before(validity_end)
                     where closed_reason = 'revised' and pg_temp.before(validity_end) > validity_start""",
        "an end": """update l1.dia_source_history set closed_reason = 'revised' where closed_reason = 'replaced'""",
    },
    "broken_stamps": {
        "a version beside it": """
            update l1.dia_object_band b set validity_start = b.validity_start + interval '1 microsecond'
             where not exists (select from l1.dia_object_band_history h
                                where h.dia_object_id = b.dia_object_id and h.band = b.band)""",
        "a stamp that is gone": """delete from l1.stamp where stamp = (
            select max(stamp) from l1.alert where stamp not in (select stamp from l1.correction))""",
        "a source from before": "update l1.dia_source set time_processed = '2001-01-01Z' where visit = 3",
    },
    "broken_objects": {
        **{
            f"another {what.split()[0]}": f"update l1.dia_object set {what} where dia_object_id = {FIRST}"
            for what in (
                "ra = ra + 1e-7", "dec = dec - 1e-7", "n_dia_sources = n_dia_sources + 1", "n_forced = n_forced + 1",
                "n_good_dia_sources = n_good_dia_sources + 1", "ra_err = ra_err * 1.001", "dec_err = null",
                "ra_dec_cov = 2e-11", "first_dia_source_mjd_tai = first_dia_source_mjd_tai + 1e-6",
                "first_epoch_mjd_tai = first_epoch_mjd_tai - 1", "radec_mjd_tai = radec_mjd_tai + 1e-4",
            )
        },
        "no detection": f"""
            insert into l1.dia_object
            select dia_object_id + 1000000, validity_start, ra, ra_err, dec, dec_err, ra_dec_cov, n_dia_sources,
                   n_forced, first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources, first_epoch_mjd_tai
              from l1.dia_object where dia_object_id = {FIRST}""",
    },
    "broken_motions": {
        "of too few": f"update l1.dia_object set pm_ndata = 10, motion_is_due = false where dia_object_id = {FIRST}",
        "a motion missing": """
            update l1.dia_object set pm_ra = null, pm_ra_err = null, pm_dec = null, pm_dec_err = null,
                   pm_ra_pm_dec_cov = null, pm_ndata = null where pm_ndata is not null""",
        "a part of a motion": "update l1.dia_object set pm_ra = null where pm_ndata is not null",
        "a part of a drift": f"update l1.dia_object set drift_ra = 1 where dia_object_id = {FIRST}",
        "of some of them": "update l1.dia_object set pm_ndata = pm_ndata - 1 where pm_ndata is not null",
        "a detection before": f"""update l1.dia_object set earliest_mjd_tai = first_dia_source_mjd_tai + 1e-3
                                   where dia_object_id = {FIRST}""",
    },
    "broken_bands": {
        **{
            f"another {name}": f"""update l1.dia_object_band set {name} = {name} * 1.001
                                    where {name} <> 0 and psf_flux_ndata > 0"""
            for name in (
                "psf_flux_mean", "psf_flux_mean_err", "psf_flux_sigma", "psf_flux_min", "psf_flux_max",
                "psf_flux_err_mean", "psf_flux_chi2", "psf_flux_max_slope", "science_flux_mean",
                "science_flux_mean_err", "science_flux_sigma", "fp_flux_mean", "fp_flux_mean_err", "fp_flux_sigma",
            )
        },
        "another psf_flux_ndata": """update l1.dia_object_band set psf_flux_ndata = psf_flux_ndata + 1
                                      where daily_ndata is null""",
        "a band too many": f"""
            insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_ndata)
            select dia_object_id, 'u', validity_start, 1 from l1.dia_object where dia_object_id = {FIRST}""",
        "a band too few": f"delete from l1.dia_object_band where dia_object_id = {FIRST}",
    },
    "broken_daily_bands": {
        f"another {name}": f"""update l1.dia_object_band set {name} = {name} * 1.001
                                where daily_ndata = psf_flux_ndata and {name} <> 0"""
        for name in (
            "psf_flux_percentile05", "psf_flux_percentile25", "psf_flux_percentile50", "psf_flux_percentile75",
            "psf_flux_percentile95", "psf_flux_mad", "psf_flux_skew", "psf_flux_stetson_j", "psf_flux_linear_slope",
            "psf_flux_linear_intercept",
        )
    },
    "broken_source_ids": {
        "in two leaves": """
            update l1.dia_source set dia_source_id = (select min(dia_source_id) from l1.dia_source
                                                       where midpoint_mjd_tai > 61100 and not is_forced)
             where dia_source_id = (select min(dia_source_id) from breaker)""",
        "another's of former times": """
            update l1.dia_source set dia_source_id = (
                   select h.dia_source_id from l1.dia_source_history h
                    where h.visit = 9 and not h.is_forced order by h.dia_source_id desc limit 1)
             where dia_source_id = (select min(dia_source_id) from breaker where visit = 16)""",
        "two that are gone": """
            insert into l1.dia_source_history
            select (json_populate_record(h, json_build_object('detector', 77, 'validity_start', h.validity_end,
                       'validity_end', pg_temp.after(h.validity_end)))).*
              from l1.dia_source_history h where h.visit = 15 and h.is_forced = false limit 1""",
    },
    "broken_sightings": {
        "two detections": """
            alter table l1.dia_source disable trigger all;
            drop index l1.dia_source_60990_visit_dia_object_id_idx;
            create temp table twice as
            select s.* from outlived s where not s.is_forced and midpoint_mjd_tai < 61020
               and exists (select from l1.dia_object_history h where h.dia_object_id = s.dia_object_id
                              and h.validity_end = s.validity_start) limit 1;
            update l1.visit_detector d set n_sources = n_sources + 1, n_associated = n_associated + 1,
                   n_alerts = n_alerts + 1 from twice t where (t.visit, t.detector) = (d.visit, d.detector);
            insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id,
                                  dia_object_version, survey_version, stamp)
            select a.kind, 77, a.midpoint_mjd_tai, a.visit, a.detector, a.dia_object_id, a.dia_object_version,
                   a.survey_version, a.stamp from l1.alert a join twice t using (dia_source_id);
            update twice set dia_source_id = 77;
            insert into l1.dia_source select * from twice""",
        "two forced": """
            drop index l1.dia_source_60990_visit_detector_dia_object_id_idx;
            create temp table twice as
            select * from outlived where is_forced and midpoint_mjd_tai < 61020 limit 1;
            update l1.visit_detector d set n_forced = n_forced + 1
              from twice t where (t.visit, t.detector) = (d.visit, d.detector);
            update twice set dia_source_id = 77;
            insert into l1.dia_source select * from twice""",
    },
    "broken_source_visits": {
        "another band": "update l1.dia_source s set band = 'i' from breaker b where s.dia_source_id = b.dia_source_id",
        "another time": """update l1.dia_source s set midpoint_mjd_tai = s.midpoint_mjd_tai + 0.01
                             from breaker b where s.dia_source_id = b.dia_source_id""",
        "another partition": """
            select l1_api.ensure_partitions(61030);
            insert into l1.visit (visit, band, midpoint_mjd_tai, exposure_time, day_obs)
            values (500, 'r', 61020.4995, 80000, '2025-12-10');
            insert into l1.visit_detector (visit, detector, attempt, survey_version, content_sha256, n_sources,
                                           n_without_object, time_processed)
            select 500, 0, 1, survey_version, content_sha256, 1, 1, time_processed from l1.visit_detector
             where visit = 16;
            update l1.visit_detector set n_sources = n_sources - 1, n_without_object = n_without_object - 1
             where visit = 16;
            update l1.dia_source set visit = 500, midpoint_mjd_tai = 61020.6
             where dia_source_id = (select min(dia_source_id) from breaker where visit = 16)""",
        "no such detector": """
            update l1.dia_source set detector = 99 where visit = 16 and no_object_reason = 'breaker';
            update l1.visit_detector set n_sources = 1, n_without_object = 0 where visit = 16""",
    },
    "broken_reasons": {
        "both": "update l1.dia_source set no_object_reason = 'quality' where visit = 3",
        "neither": """alter table l1.dia_source drop constraint dia_source_belongs_check;
                      update l1.dia_source set no_object_reason = null where no_object_reason = 'breaker'""",
        "precovery that was detected": "update l1.dia_source set is_precovery = true where visit = 3",
    },
    "broken_members": {
        "a detection of a retired object": """
            update l1.dia_source set dia_object_id = (select min(dia_object_id) from retired)
             where dia_source_id = (
                   select min(s.dia_source_id) from outlived s
                    where not s.is_forced
                      and not exists (select from l1.dia_object_history h where h.dia_object_id = s.dia_object_id
                                         and h.validity_end = s.validity_start))""",
        "of an object that never was": """
            update l1.dia_source set dia_object_id = 4711
             where dia_source_id = (select min(dia_source_id) from outlived where is_forced)""",
    },
    "broken_corrections": {
        "without stamp": "update l1.correction set stamp = stamp + '1 us'::interval where kind = 'move_sources'",
        "a record of another": "update l1.update_record set correction_id = 1 where correction_id = 2",
        "by nobody": "delete from l1.correction where kind = 'undo_correction'",
    },
    "broken_object_cells": {
        "discovered elsewhere": f"""
            create temp table first as
            select * from l1.dia_object_history where dia_object_id = {FIRST} order by validity_start limit 1;
            update l1.dia_object_history h set dec = h.dec + 1 from first f
             where (f.dia_object_id, f.validity_start) = (h.dia_object_id, h.validity_start);
            insert into l1.dia_object_former_place select dia_object_id, validity_end, ra, dec + 1 from first""",
    },
    "broken_former_places": {
        "one is missing": "delete from l1.dia_object_former_place p using l1.dia_object o"
                          " where p.dia_object_id = o.dia_object_id",
        "a retirement is missing": "delete from l1.dia_object_former_place where dia_object_id in (table retired)",
        "one too many": """insert into l1.dia_object_former_place
                           select dia_object_id, validity_end, ra, dec from plain limit 1""",
        "another": "update l1.dia_object_former_place set ra = ra + 1e-9",
    },
    "broken_ledger": {
        name: f"update l1.visit_detector set {name} = {name} + 1 where visit = 3"
        for name in ("n_sources", "n_associated", "n_new_objects", "n_without_object", "n_forced", "n_alerts")
    } | {
        "of an attempt that was replaced": "update l1.visit_detector set n_alerts = 0 where withdrawn_at is not null",
        "half a visit": "update l1.visit_detector set time_processed = null where n_sources = 1 and n_alerts = 0",
    },
    "broken_alert_sources": {
        "no such source": """
            create temp table gone as
            select * from l1.alert a where kind = 'detection' and not exists (
                   select from l1.dia_source s where s.dia_source_id = a.dia_source_id)
             order by alert_id desc limit 1;
            delete from l1.alert a using gone where a.dia_source_id = gone.dia_source_id and a.kind = 'retraction';
            update l1.alert a set dia_source_id = 77 from gone where a.alert_id = gone.alert_id""",
        "of a retraction": f"""
            insert into l1.alert_image (visit, detector, stamp, attempt, band, midpoint_mjd_tai, day_obs)
            select i.visit, 99, i.stamp, i.attempt, i.band, i.midpoint_mjd_tai, i.day_obs
              from l1.alert_image i join l1.alert using (visit, detector, stamp) where alert_id = {LAST_RETRACTION};
            update l1.alert set detector = 99 where alert_id = {LAST_RETRACTION}""",
    },
    "broken_retractions": {
        "one is missing": f"delete from l1.alert where alert_id = {LAST_RETRACTION}",
        "one of a forced measurement": """
            delete from l1.alert where alert_id = (
                   select max(r.alert_id) from l1.alert r join l1.alert a using (dia_source_id)
                    where r.kind = 'retraction' and a.kind = 'forced')""",
        "of what is live": """
            insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id,
                                  dia_object_version, survey_version, stamp)
            select 'retraction', dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                   survey_version, stamp from l1.alert a
             where alert_id = (select max(alert_id) from l1.alert where visit = 3)""",
        "at another time": f"""
            create temp table once as select * from l1.alert where alert_id = {LAST_RETRACTION};
            insert into l1.alert_image
            select i.visit, i.detector, pg_temp.before(i.stamp), i.attempt, i.band, i.midpoint_mjd_tai, i.exposure_time,
                   i.boresight_ra, i.boresight_dec, i.airmass, i.day_obs
              from l1.alert_image i join once using (visit, detector, stamp);
            update l1.alert a set stamp = pg_temp.before(a.stamp), dia_object_id = null, dia_object_version = null
              from once where a.alert_id = once.alert_id""",
        "of what had no alert": """
            insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)
            select 'retraction', h.dia_source_id, h.midpoint_mjd_tai, h.visit, h.detector, 1, h.validity_end
              from l1.dia_source_history h join l1.alert_image i on (i.visit, i.detector, i.stamp)
                                                                  = (h.visit, h.detector, h.validity_end)
             where h.closed_reason = 'replaced' and h.dia_source_id not in (select dia_source_id from l1.alert)
               and h.dia_source_id not in (select dia_source_id from l1.dia_source) limit 1""",
    },
    "broken_deliveries": {
        "a packet of no alert": """
            insert into l1.alert_packet (alert_id, format, schema_version, sha256, n_bytes)
            values (-1, 'l1db', '1.0', sha256(''), 1)""",
        "no alert": """
            insert into l1.destination (destination, kind, format, settings, give_up_after)
            values ('d', 'file', 'l1db', '{}', '1 day');
            insert into l1.delivery (destination, alert_id, state, n_attempts, first_at, last_at)
            values ('d', -1, 'refused', 1, now(), now())""",
        "a packet that was not built": """
            insert into l1.destination (destination, kind, format, settings, give_up_after)
            values ('d', 'file', 'l1db', '{}', '1 day');
            insert into l1.delivery (destination, alert_id, state, n_attempts, first_at, last_at)
            select 'd', max(alert_id), 'delivered', 1, now(), now() from l1.alert""",
    },
    "broken_alert_images": {
        "one is missing": "delete from l1.alert_image where visit = 3",
        "that of a retraction": f"""
            delete from l1.alert_image i using l1.alert a
             where a.alert_id = {LAST_RETRACTION}
               and (i.visit, i.detector, i.stamp) = (a.visit, a.detector, a.stamp)""",
    },
    "broken_alert_versions": {
        "no such object": f"update l1.alert set dia_object_id = 4711 where alert_id = {LAST_ALERT.format('detection')}",
        "no such version": f"""update l1.alert set dia_object_version = pg_temp.before(dia_object_version)
                                where alert_id = {LAST_ALERT.format('detection')}""",
        "a retraction without one": """update l1.alert set dia_object_version = null
                                        where kind = 'retraction' and dia_object_version is not null""",
        "a retraction with one of a retired object": """update l1.alert set dia_object_version = stamp
                                                         where kind = 'retraction' and dia_object_version is null""",
    },
    "broken_outbox": {
        "of a detection": f"""
            update l1.visit_detector d set n_alerts = n_alerts - 1 from l1.alert a
             where a.alert_id = {LAST_ALERT.format('detection')} and d.withdrawn_at is null
               and (a.visit, a.detector) = (d.visit, d.detector);
            delete from l1.alert where alert_id = {LAST_ALERT.format('detection')}""",
        "of a forced measurement": f"delete from l1.alert where alert_id = {LAST_ALERT.format('forced')}",
    },
    "broken_consumers": {
        "ahead of its time": "update l1.alert_cursor set seen = '99999999:99999999:', window_end = null,"
                             " after_xid = null, after_alert_id = null",
        "backwards": "update l1.alert_cursor set window_end = '3:3:'",
        "half a place": "update l1.alert_cursor set after_alert_id = null",
        "a batch of another size": "update l1.alert_batch set n_alerts = n_alerts + 1",
    },
    "broken_redirects": {
        "lost": "update l1.dia_object_history set redirect_to = null where redirect_to is not null",
        "to nowhere": "update l1.dia_object_history set redirect_to = 4711 where retired_reason is not null",
        "to itself": "update l1.dia_object_history set redirect_to = dia_object_id where retired_reason is not null",
        "of an object that goes on": f"""update l1.dia_object_history set redirect_to = dia_object_id
                                          where dia_object_id = {FIRST}""",
    },
    "broken_images": {
        "of no detector": """insert into l1.image (visit, detector, kind, uri, sha256, n_bytes, expires_at)
                             select visit, 99, kind, uri, sha256, n_bytes, expires_at from l1.image limit 1""",
        "a task of no object": "update l1.precovery_task set dia_object_id = 4711",
        "a task of no detector": "update l1.precovery_task set detector = 99",
    },
}  # fmt: skip


def seen(*stars: int, seed: int = 0, **columns: Any) -> dict[str, Any]:
    """Sources on stars an arcminute from each other, scattered by 0.1 arcsec."""
    n, rng = len(stars), np.random.default_rng([seed, *stars])
    return {
        "ra": 30 + np.array(stars) / 60 + rng.normal(0, 0.1, n) * ARCSEC,
        "dec": -5 + rng.normal(0, 0.1, n) * ARCSEC,
        "ra_err": np.full(n, 0.1 * ARCSEC),
        "dec_err": rng.uniform(0.05, 0.15, n) * ARCSEC,
        "ra_dec_cov": np.full(n, 1e-11),
        "psf_flux": rng.normal(1000, 80, n),
        "psf_flux_err": rng.uniform(40, 60, n),
        "science_flux": rng.normal(3000, 80, n),
        "science_flux_err": rng.uniform(40, 60, n),
        "reliability": rng.uniform(0.2, 1, n),
        **columns,
    }


def measured(client: Client, seed: int, *, left_out: int | None = None) -> Measured:
    """As if the images had been measured at all objects in them."""
    targets = client.forced_targets({0: FOOTPRINT})[0]
    star = np.rint((np.asarray(targets.ra) - 30) * 60).astype(int)
    here = targets.is_target & (star != left_out)
    n, rng = int(here.sum()), np.random.default_rng(seed)
    forced = {
        "dia_object_id": targets.dia_object_id[here],
        "ra": targets.ra[here],
        "dec": targets.dec[here],
        "x": np.arange(n, dtype=float),
        "y": np.full(n, 7.0),
        "is_on_image": np.ones(n, dtype=bool),
        "psf_flux": rng.normal(10, 5, n),
        "psf_flux_err": np.full(n, 5.0),
        "psf_chi2": np.full(n, 600.0),
        "psf_ndata": np.full(n, 625),
        "science_flux": rng.normal(2000, 5, n),
        "science_flux_err": np.full(n, 6.0),
        "snap_diff_flux": np.full(n, np.nan),
        "snap_diff_flux_err": np.full(n, np.nan),
        "forced_flags": np.zeros(n, dtype=int),
    }
    return Measured(forced=forced, footprint=FOOTPRINT, files=(FILE,))


def visit(number: int, band: str = "r", mjd: float | None = None) -> Visit:
    return Visit(number, band, 61_000 + number * 0.7 if mjd is None else mjd, exposure_time=30.0)


def live_through(dsn: str) -> None:
    """What a database may go through: bands, months, images, replacements, retirements, supplements, the breaker, days
    of statistics, other rules, several sessions at once, and a consumer.
    """
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select l1_api.add_consumer('listener', 'start')")
        for number in range(1, 9):
            stars = [s for s in range(6) if (s + number) % 4]
            images = measured(client, number, left_out=4) if number % 2 == 0 else None
            client.ingest(
                visit(number, "rgi"[number % 3]), [DetectorData(0, seen(*stars, seed=number), measured=images)]
            )
        # An image on which star 9 is forced, which is then taken back, so that its object is retired.
        client.ingest(visit(9), [DetectorData(0, seen(1, 9, seed=9))])
        client.ingest(visit(10), [DetectorData(0, seen(1, 2, seed=10), measured=measured(client, 10))])
        client.ingest(visit(9), [DetectorData(0, seen(1, 4, seed=90))], mode="replace")
        # A place given up for one far off in cells, though within the radius.
        client.ingest(visit(11), [DetectorData(0, seen(20, seed=11, dec=[-5.0]))])
        client.ingest(visit(12), [DetectorData(0, seen(20, seed=12, dec=[-5 + 0.9 * ARCSEC]))])
        client.ingest(visit(13), [DetectorData(0, seen(20, seed=13, dec=[-5 + 0.9 * ARCSEC]))])
        for _ in range(10):
            connection.execute("select l1_api.measure_by_day(4)")
        # Given ids, more of them later, and the same replaced by fewer.
        first = seen(1, 2, 3, seed=14, dia_source_id=[141, 142, 143])
        client.ingest(visit(14, "i"), [DetectorData(0, first)])
        client.ingest(visit(14, "i"), [DetectorData(0, seen(6, seed=14, dia_source_id=[144]))], mode="supplement")
        client.ingest(visit(15, "i"), [DetectorData(0, seen(2, 3, seed=15, dia_source_id=[151, 152]))])
        client.ingest(visit(15, "i"), [DetectorData(0, seen(3, seed=15, dia_source_id=[152]))], mode="replace")
        # The breaker, and its release.
        change_survey(connection, {"max_new_objects": 2}, "breaker")
        many = seen(10, 11, 12, 13, 1, seed=16)
        client.ingest(visit(16), [DetectorData(0, many)])
        client.ingest(visit(17), [DetectorData(0, many)])
        client.ingest(visit(17), [DetectorData(0, many)], mode="release")
        # Half a year later, under a shorter history.
        window = {"max_new_objects": None, "history_days": 100.0, "stats_include_forced": False,
                  "forced_min_reliability": 0.5}  # fmt: skip
        change_survey(connection, window, "window")
        for number in (18, 19):
            images = measured(client, number)
            data = DetectorData(0, seen(0, 1, seed=number), measured=images)
            client.ingest(visit(number, "g", 61_150.0 + number), [data])
        connection.execute("select l1_api.measure_by_day(5)")
        change_survey(connection, {"alert_on": "all", "bands": ["u", "g", "r", "i", "z", "y", "L"]}, "forced too")
        data = DetectorData(0, seen(3, seed=20), measured=measured(client, 20))
        client.ingest(visit(20, "L", 61_171.0), [data])
        connection.execute("select count(*) from l1_api.next_alerts('listener', 7)")
        connection.execute("select count(*) from l1_api.next_alerts('listener', 7)")

    # Overlapping detectors, by four sessions at once; then half of each visit is replaced, which frees twins.
    exposures = [replace(e, visit=replace(e.visit, visit=100 + e.visit.visit)) for e in map(SKY.expose, range(1, 6))]
    ingest_at_once(dsn, calls_by_detector(exposures), seed=5, n_workers=4)
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        for exposure in exposures[:3]:
            fewer = {name: np.asarray(values)[::2] for name, values in exposure.detectors[1].sources.items()}
            client.ingest(exposure.visit, [replace(exposure.detectors[1], sources=fewer)], mode="replace")
        connection.execute("select l1_api.measure_by_day(10)")
        correct(connection)
        # A star that is seen for more than a year has a motion.
        for number in range(12):
            client.ingest(
                visit(200 + number, "r", 61_200.3 + 40 * number), [DetectorData(0, seen(30, seed=200 + number))]
            )
        connection.execute("select l1_api.measure_motions(1000)")


def correct(connection: psycopg.Connection) -> None:
    """Each correction, of objects with a history; some are undone."""

    def one(query: str) -> Any:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    several = "select dia_object_id from l1.dia_object where n_dia_sources >= 3 order by dia_object_id desc limit 1"
    part = f"select min(dia_source_id) from l1.dia_source where not is_forced and dia_object_id = ({several})"
    connection.execute(f"select l1_api.withdraw_sources(array[({part})], 'a test')")
    connection.execute(f"select l1_api.move_sources(array[({part})], null, 'a test')")
    split = one("select dia_object_id from l1.stamp s join l1.dia_object o on o.validity_start = s.stamp"
                " where o.n_dia_sources = 1 order by s.stamp desc limit 1")  # fmt: skip
    whole = one("select dia_object_id from l1.dia_object_history h where h.validity_end ="
                " (select max(stamp) from l1.stamp) limit 1")  # fmt: skip
    connection.execute("select l1_api.merge_objects(array[%s], %s, 'a test')", (split, whole))
    lonely = one("select min(s.dia_source_id) from l1.dia_source s join l1.dia_object o using (dia_object_id)"
                 " where o.n_dia_sources = 1 and o.n_forced > 0 and not s.is_forced")  # fmt: skip
    connection.execute("select l1_api.withdraw_sources(array[%s], 'a test')", (lonely,))
    undone = one("select l1_api.withdraw_detectors(104, array[1]::smallint[], 'a test')")
    connection.execute("select l1_api.undo_correction(%s, 'a test')", (undone,))
    connection.execute("select l1_api.withdraw_visit(105, 'a test')")
    forced = one("select min(s.dia_source_id) from l1.dia_source s join l1.alert a using (dia_source_id)"
                 " where a.kind = 'forced'")  # fmt: skip
    connection.execute("select l1_api.withdraw_sources(array[%s], 'a test')", (forced,))


@pytest.fixture(scope="module")
def sound_dsn(server: Server) -> Iterator[str]:
    dsn = server.clone("seed")
    live_through(dsn)
    yield dsn
    server.drop(dsn)


@pytest.fixture
def sound(sound_dsn: str) -> Iterator[psycopg.Connection]:
    """A session in that database in which everything may be damaged; rolled back after the test."""
    with psycopg.connect(sound_dsn) as connection:
        connection.execute("set local session_replication_role = replica")
        yield connection
        connection.rollback()


def broken(connection: psycopg.Connection, **more: Any) -> dict[str, Verdict]:
    """What is reported, by name."""
    return {v.invariant.name: v for v in verdicts(connection, **more) if v.n_found}


def test_the_database_of_these_tests_has_lived(sound: psycopg.Connection) -> None:
    """Guards the next: of all that may happen, something did."""
    for what in (
        "l1.dia_object_history where retired_reason = 'orphaned'",
        "l1.dia_object_former_place p join l1.dia_object o using (dia_object_id)",
        "l1.dia_source_history where closed_reason = 'replaced'",
        "l1.dia_source_history where closed_reason = 'revised'",
        "l1.dia_source where no_object_reason = 'duplicate_in_visit'",
        "l1.dia_source where no_object_reason = 'breaker'",
        "l1.dia_object_band where daily_ndata = psf_flux_ndata and psf_flux_ndata > 2",
        "l1.dia_object_band where psf_flux_ndata = 0 and fp_flux_mean is not null",
        "l1.dia_object_band where daily_ndata is distinct from psf_flux_ndata",
        "l1.dia_object o where n_dia_sources + n_forced < (select count(*) from l1.dia_source s"
        " where s.dia_object_id = o.dia_object_id)",
        "l1.dia_object where n_good_dia_sources < n_dia_sources",
        "l1.alert where kind = 'forced'",
        "l1.alert where kind = 'retraction' and dia_object_version is null",
        "l1.alert where kind = 'retraction' and dia_object_version = stamp",
        "l1.alert r join l1.dia_source s using (dia_source_id) where r.kind = 'retraction'",
        "l1.alert r join l1.alert a using (dia_source_id) where r.kind = 'retraction' and a.kind = 'forced'",
        "l1.alert_batch where acked_at is null",
        "l1.alert_cursor where window_end is not null and after_xid is not null",
        "l1.precovery_task",
        "l1.visit_detector where withdrawn_reason = 'released'",
        "l1.visit_detector where n_withdrawn > 0",
        "l1.dia_object where pm_ndata >= 10 and not motion_is_due",
        "l1.dia_object_history where redirect_to is not null",
        *(
            f"l1.dia_source_history where closed_reason = '{reason}'"
            for reason in ("withdrawn", "detector_withdrawn", "moved", "merged", "undone", "orphaned")
        ),
    ):
        row = sound.execute(f"select count(*) from {what}").fetchone()
        assert row is not None
        assert row[0] > 0, what


def test_a_sound_database_is_found_sound(sound_dsn: str) -> None:
    outcome = l1db("check", "--deep", dsn=sound_dsn)
    assert outcome.code == 0, outcome.out
    assert "FAIL" not in outcome.out
    assert f"{len(NAMES)} invariants: all hold; " in outcome.out.splitlines()[-1]


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in NAMES for case in PLANTED.get(name, {"none": ""})])
def test_damage_is_found_under_its_own_name_alone(name: str, case: str, sound: psycopg.Connection) -> None:
    """A new invariant without damage of its own fails here."""
    before = broken(sound)
    sound.execute(NAMED)
    for statement in filter(str.strip, PLANTED[name][case].split(";")):
        sound.execute(statement)  # type: ignore[arg-type]
    after = broken(sound)
    changed = {k: v.examples for k, v in after.items() if k not in before or before[k].n_found != v.n_found}
    assert set(changed) == {name}, changed
    assert after[name].examples


def test_a_violation_is_an_exit_code_and_as_many_lines_as_wanted(fresh_database: Any) -> None:
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1, 2, 3))])
        connection.execute("update l1.visit_detector set n_forced = 7")
        connection.execute("set session_replication_role = replica")
        connection.execute("update l1.dia_object set n_forced = 7")
    outcome = l1db("check", "--deep", "--limit", 3, dsn=dsn)
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL  broken_objects: 4: Position, errors,"))
    assert all(line.endswith("n_forced is 7, not 0") for line in lines[at + 1 : at + 4])
    assert lines[at + 4] == "        and 1 more"
    assert "        visit 1: detector 0, attempt 1: n_forced is 7, not 0" in lines
    assert ": 2 broken, 5 violations; " in lines[-1]
    alone = l1db("check", "--deep", "--only", "broken_stamps", dsn=dsn)
    assert (alone.code, alone.out.count("broken_")) == (0, 1)
    refused = l1db("check", "--deep", "--only", "broken_hearts", dsn=dsn)
    assert refused.code == 1
    assert "there is no invariant broken_hearts; there are: broken_alert_images, broken_alert_sources, " in refused.err


def test_what_is_committed_meanwhile_is_not_seen(fresh_database: Any) -> None:
    """Seen red at READ COMMITTED."""
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as other:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        running = check_deep(dsn)
        assert next(running).n_found == 0
        client.ingest(visit(2), [DetectorData(0, seen(0, 1, 2))])
        other.execute("update l1.visit_detector set n_sources = 7")
        assert [v for v in running if v.n_found] == []
        assert {v.invariant.name for v in check_deep(dsn) if v.n_found} == {"broken_ledger"}


def test_whoever_reads_may_check(sound: psycopg.Connection) -> None:
    sound.execute("set local role l1_read")
    assert broken(sound) == {}


def test_pieces_together_find_what_the_whole_does(sound: psycopg.Connection) -> None:
    """Each object is looked at once, whatever its id; so are ids that no object has."""
    sound.execute("update l1.dia_object set n_forced = n_forced + 1")
    sound.execute(NAMED)
    sound.execute(PLANTED["broken_members"]["of an object that never was"])
    sound.execute("update l1.dia_source set no_object_reason = 'quality' where dia_object_id is not null")
    whole = {name: v.n_found for name, v in broken(sound).items()}
    reports: list[tuple[str, int, int]] = []
    found = broken(sound, piece_bytes=8192, report=lambda *report: reports.append(report))
    pieces = {name: v.n_found for name, v in found.items()}
    assert pieces == whole
    assert whole["broken_objects"] > 10
    assert reports[-1][1] == reports[-1][2] > 10 * len(NAMES)


def test_a_window_and_its_rules_are_those_of_the_objects_version(fresh_database: Any) -> None:
    """After the rules have changed, objects that no source came to since are as the former rules had them."""
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        client.ingest(visit(2, mjd=61_050.0), [DetectorData(0, seen(0, 1, seed=2))])
        change_survey(connection, {"history_days": 10.0}, "short")
        client.ingest(visit(3, mjd=61_051.0), [DetectorData(0, seen(0, seed=3))])
        assert connection.execute("select n_dia_sources from l1.dia_object order by ra").fetchall() == [(2,), (2,)]
        assert [v for v in check_deep(dsn) if v.n_found] == []
        # The hour of grace is over.
        connection.execute("set session_replication_role = replica")
        connection.execute("update l1.survey set created_at = '2026-01-01Z' where history_days = 10")
        assert {v.invariant.name for v in check_deep(dsn) if v.n_found} == {"broken_objects", "broken_bands"}
