create function l1_api.keep_given_cutouts(p_visit l1.visit, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.keep_given_cutouts(2)
--
--   Enters the cutouts that came with the sources and lie in the archive, of those sources that this transaction issued an
--   alert of: no packet of it can have been built without them.  Of others it is too late, or there is nothing to show.
--
-- Parameters:
--   p_visit  - the visit
--   p_stamp  - stamp of this transaction
-- Reads:   pg_temp.stage_cutout, l1.alert
-- Writes:  l1.cutout
--
-- Algorithm:
--   Each is looked up by itself (LIMIT): no statistics know what was just written.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_bounds record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    insert into l1.cutout (dia_source_id, kind, encoding, sha256, n_bytes, pack, start)
    select s.dia_source_id, s.kind, s.encoding, s.sha256, s.n_bytes, s.pack, s.start
      from pg_temp.stage_cutout s
     cross join lateral (
        select a.alert_id
          from l1.alert a
         where a.dia_source_id = s.dia_source_id
           and a.kind = 'detection'
           and a.midpoint_mjd_tai >= v_bounds.lower
           and a.midpoint_mjd_tai < v_bounds.upper
           and a.stamp = p_stamp
         limit 1
     ) as issued
     order by s.dia_source_id, s.kind, s.encoding
        on conflict do nothing;
end
$$;
comment on function l1_api.keep_given_cutouts(l1.visit, timestamptz) is
    'Enters the cutouts that came with the sources which this transaction issued an alert of';
