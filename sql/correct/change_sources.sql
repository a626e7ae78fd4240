create function l1_api.change_sources(p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
set extra_float_digits = 1
as $$
-- Function: l1_api.change_sources(1)
--
--   Withdraws, moves and brings back the listed sources.
--
-- Parameters:
--   p_stamp  - stamp of this transaction
-- Reads:   pg_temp.correcting; l1.dia_source_history, of what is brought back
-- Writes:  l1.dia_source (history by trigger)
--
-- Algorithm:
--   One statement per reason, which the history keeps; there are a handful.  Withdrawn first: what is moved may take the
--   place of what is withdrawn; brought back last: it may take the place of what is moved.
-- Settings:
--   a plan kept for all times would have to look into every leaf; all digits of what goes through JSON
declare
    v_lower  double precision;
    v_upper  double precision;
    v_reason text;
begin
    select min(c.midpoint_mjd_tai), max(c.midpoint_mjd_tai) into v_lower, v_upper from pg_temp.correcting c;

    for v_reason in select distinct c.reason from pg_temp.correcting c where c.action = 'withdraw' order by 1 loop
        perform set_config('l1.closed_reason', v_reason, true);
        delete from l1.dia_source x
         using pg_temp.correcting c
         where c.action = 'withdraw'
           and c.reason = v_reason
           and x.dia_source_id = c.dia_source_id
           and x.midpoint_mjd_tai = c.midpoint_mjd_tai
           and x.midpoint_mjd_tai >= v_lower
           and x.midpoint_mjd_tai <= v_upper;
    end loop;

    for v_reason in select distinct c.reason from pg_temp.correcting c where c.action = 'move' order by 1 loop
        perform set_config('l1.closed_reason', v_reason, true);
        update l1.dia_source x
           set dia_object_id = c.object,
               no_object_reason = c.no_object_reason,
               validity_start = p_stamp
          from pg_temp.correcting c
         where c.action = 'move'
           and c.reason = v_reason
           and x.dia_source_id = c.dia_source_id
           and x.midpoint_mjd_tai = c.midpoint_mjd_tai
           and x.midpoint_mjd_tai >= v_lower
           and x.midpoint_mjd_tai <= v_upper;
    end loop;
    perform set_config('l1.closed_reason', '', true);

    insert into l1.dia_source
    select former.*
      from pg_temp.correcting c
      join l1.dia_source_history h
        on h.dia_source_id = c.dia_source_id
       and h.validity_start = c.validity_start
     cross join lateral jsonb_populate_record(null::l1.dia_source,
                                              to_jsonb(h) || jsonb_build_object('validity_start', p_stamp)) as former
     where c.action = 'restore'
     order by h.dia_object_id;
end
$$;
comment on function l1_api.change_sources(timestamptz) is 'Withdraws, moves and brings back the listed sources';
