create function l1_api.night_results(p_visit bigint, p_asof timestamptz, p_with_content boolean)
returns table (part text, detector smallint, name text, dia_object_id bigint, sha256 bytea, content text)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
set extra_float_digits = 1
set datestyle = 'ISO'
set timezone = 'UTC'
set bytea_output = 'hex'
set work_mem = '64MB'
set enable_nestloop = off
as $$
-- Function: l1_api.night_results(3)
--
--   What was made of a visit: its sources, what they were associated with, the versions that its transactions opened and
--   the alerts they issued.
--
-- Parameters:
--   p_visit, p_asof, p_with_content  - see night_rows
-- Returns:
--   rows of the parts sources, associations, forced, objects, bands and alerts; see night_digest
-- Reads:  l1.dia_source, l1.dia_object, l1.dia_object_band, their histories, l1.alert
--
-- Algorithm:
--   All versions of the visit's rows tell which objects its transactions touched, and when: at a version's start and at
--   its end.  The versions of these objects with that very stamp are those that the visit opened; later nights open
--   others.  LIMIT and OFFSET 0 have each looked up by its index: no statistics know what a visit touches.
--   Columns that are measured by day count where this version measured them; what it took over from the day before does
--   not, nor do motions, so that it does not matter when l1db maintain ran.
-- Settings:
--   without enable_nestloop = off a visit that statistics do not know yet might be joined with itself row by row
declare
    v_ids   constant text[] := array['dia_source_id', 'visit', 'detector', 'dia_object_id', 'ss_object_id',
                                     'no_object_reason', 'ss_object_reassoc_time_mjd_tai', 'time_processed',
                                     'time_withdrawn', 'validity_start'];
    v_daily constant text[] := array['psf_flux_percentile05', 'psf_flux_percentile25', 'psf_flux_percentile50',
                                     'psf_flux_percentile75', 'psf_flux_percentile95', 'psf_flux_mad', 'psf_flux_skew',
                                     'psf_flux_stetson_j', 'psf_flux_linear_slope', 'psf_flux_linear_intercept',
                                     'daily_ndata'];
    v_motion constant text[] := array['pm_ra', 'pm_ra_err', 'pm_dec', 'pm_dec_err', 'pm_ra_pm_dec_cov', 'pm_chi2',
                                      'pm_ndata', 'drift_ra', 'drift_dec', 'drift_err', 'motion_is_due'];
    v_bounds record;
    v_bands  text[];
begin
    select leaf.*
      into v_bounds
      from l1.visit v
     cross join lateral l1_api.leaf_bounds(v.midpoint_mjd_tai) as leaf
     where v.visit = p_visit;
    v_bands := array(select distinct unnest(s.bands) from l1.survey s);

    return query execute format(
        $query$
        with version as materialized (
            select s.dia_source_id, s.detector, s.is_forced, s.dia_object_id, s.ss_object_id, s.no_object_reason,
                   s.time_processed, s.validity_start,
                   case when s.validity_end <= $2 then s.validity_end end as validity_end,
                   sha256(convert_to(row.content, 'UTF8')) as sha256,
                   case when $5 then row.content end as content
              from (
                select s.*, null::timestamptz as validity_end
                  from l1.dia_source s
                 where s.visit = $1
                   and not s.is_forced
                   and s.midpoint_mjd_tai >= $3
                   and s.midpoint_mjd_tai < $4
                union all
                select s.*, null
                  from l1.dia_source s
                 where s.visit = $1
                   and s.is_forced
                   and not s.is_precovery
                   and s.midpoint_mjd_tai >= $3
                   and s.midpoint_mjd_tai < $4
                union all
                select %1$s, s.validity_end
                  from l1.dia_source_history s
                 where s.visit = $1
                   and not s.is_precovery
              ) as s
              left join lateral (
                select concat_ws(E'\n',
                                 case when s.dia_source_id < 4611686018427387904
                                      then 'dia_source_id=' || s.dia_source_id end,
                                 %2$s) as content
                 where s.validity_end > $2 or s.validity_end is null
                offset 0
              ) as row
                on true
             where s.validity_start <= $2
        ), touched as materialized (
            select distinct v.detector, v.dia_object_id, moment.stamp
              from version v
             cross join lateral (values (v.validity_start), (v.validity_end)) as moment(stamp)
             where v.dia_object_id is not null
               and moment.stamp is not null
        ), object as materialized (
            select n.dia_object_id, n.name
              from l1_api.object_names(array(select distinct t.dia_object_id from touched t)) as n
        ), source as materialized (
            select n.dia_source_id, n.time_processed, n.name
              from l1_api.source_names($1, $2) as n
        ), opened as materialized (
            select t.detector, t.dia_object_id, t.stamp, version.content,
                   row_number() over (partition by t.detector, t.dia_object_id order by t.stamp) as number
              from touched t
             cross join lateral (
                select %3$s as content
                  from l1.dia_object o
                 where o.dia_object_id = t.dia_object_id
                   and o.validity_start = t.stamp
                union all
                select %3$s
                  from l1.dia_object_history o
                 where o.dia_object_id = t.dia_object_id
                   and o.validity_start = t.stamp
                limit 1
             ) as version
        ), retired as (
            select t.detector, t.dia_object_id, t.stamp,
                   concat_ws(E'\n', 'retired_reason=' || to_json(last.retired_reason)::text,
                             'redirect_to=' || (select n.name
                                                  from l1_api.object_names(array[last.redirect_to]) as n
                                                 where last.redirect_to is not null)) as content
              from touched t
             cross join lateral (
                select h.retired_reason, h.redirect_to, h.validity_end
                  from l1.dia_object_history h
                 where h.dia_object_id = t.dia_object_id
                   and h.validity_start < t.stamp
                 order by h.validity_start desc
                 limit 1
             ) as last
             where last.validity_end = t.stamp
               and last.retired_reason is not null
        ), band as (
            select t.detector, t.dia_object_id, t.stamp, version.band, version.content,
                   row_number() over (partition by t.detector, t.dia_object_id, version.band order by t.stamp) as number
              from touched t
             cross join lateral (
                select b.band, concat_ws(E'\n', %4$s, case when b.daily_ndata = b.psf_flux_ndata then %5$s end) as content
                  from l1.dia_object_band b
                 where b.dia_object_id = t.dia_object_id
                   and b.validity_start = t.stamp
                union all
                select b.band, concat_ws(E'\n', %4$s, case when b.daily_ndata = b.psf_flux_ndata then %5$s end)
                  from l1.dia_object_band_history b
                 where b.dia_object_id = t.dia_object_id
                   and b.band = any ($6)
                   and b.validity_start = t.stamp
                offset 0
             ) as version
        ), holding as (
            select v.*, source.name as source_name, object.name as object_name
              from version v
              left join source
                on source.dia_source_id = v.dia_source_id
               and source.time_processed = v.time_processed
              left join object
                on object.dia_object_id = v.dia_object_id
             where v.validity_end is null
        ), issuer as (
            select distinct on (v.dia_source_id)
                   v.dia_source_id, v.detector, v.is_forced, source.name
              from version v
              left join source
                on source.dia_source_id = v.dia_source_id
               and source.time_processed = v.time_processed
             order by v.dia_source_id, v.time_processed desc
        ), line as (
            select 'associations' as part, h.detector, h.source_name as name, h.dia_object_id,
                   concat_ws(E'\n', 'dia_object=' || h.object_name, 'no_object_reason=' || h.no_object_reason,
                             'ss_object_id=' || h.ss_object_id) as content
              from holding h
             where not h.is_forced
            union all
            select 'objects', o.detector, format('%%s, version %%s', object.name, o.number), o.dia_object_id, o.content
              from opened o
              join object
                on object.dia_object_id = o.dia_object_id
            union all
            select 'objects', r.detector, format('%%s, end', object.name), r.dia_object_id, r.content
              from retired r
              join object
                on object.dia_object_id = r.dia_object_id
            union all
            select 'bands', b.detector, format('%%s, %%s, version %%s', object.name, b.band, b.number), b.dia_object_id,
                   b.content
              from band b
              join object
                on object.dia_object_id = b.dia_object_id
            union all
            select 'alerts', i.detector, coalesce(i.name, 'forced ' || object.name), alert.dia_object_id,
                   concat_ws(E'\n', 'dia_object=' || object.name, alert.content)
              from issuer i
             cross join lateral (
                select a.dia_object_id, %6$s as content
                  from l1.alert a
                 where a.dia_source_id = i.dia_source_id
                   and a.midpoint_mjd_tai >= $3
                   and a.midpoint_mjd_tai < $4
                   and a.stamp <= $2
                offset 0
             ) as alert
              left join object
                on object.dia_object_id = alert.dia_object_id
        )
        select case when h.is_forced then 'forced' else 'sources' end, h.detector,
               case when h.is_forced then h.object_name else h.source_name end, h.dia_object_id, h.sha256, h.content
          from holding h
        union all
        select l.part, l.detector, l.name, l.dia_object_id, sha256(convert_to(l.content, 'UTF8')),
               case when $5 then l.content end
          from line l
        $query$,
        (select string_agg(format('s.%I', a.attname), ', ' order by a.attnum)
           from pg_attribute a
          where a.attrelid = 'l1.dia_source'::regclass
            and a.attnum > 0
            and not a.attisdropped),
        l1_api.row_text('l1.dia_source', 's', v_ids, true),
        l1_api.row_text('l1.dia_object', 'o', v_motion || array['dia_object_id', 'validity_start'], true),
        l1_api.row_text('l1.dia_object_band', 'b', v_daily || array['dia_object_id', 'band', 'validity_start'], true),
        l1_api.row_text('l1.dia_object_band', 'b', v_daily, false),
        l1_api.row_text('l1.alert', 'a', array['alert_id', 'dia_source_id', 'midpoint_mjd_tai', 'visit', 'detector',
                                               'dia_object_id', 'dia_object_version', 'ss_object_version',
                                               'survey_version', 'stamp', 'xid'], true))
    using p_visit, p_asof, v_bounds.lower, v_bounds.upper, p_with_content, v_bands;
end
$$;
comment on function l1_api.night_results(bigint, timestamptz, boolean) is
    'What was made of a visit, row by row: sources, associations, forced rows, versions of objects and bands, alerts';
