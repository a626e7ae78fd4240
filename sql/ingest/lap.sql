create function l1_api.lap(p_timings jsonb, p_phase text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
-- Function: l1_api.lap(2)
--
--   Ends a phase of an ingest: adds the seconds since the last lap under its name.
--
-- Parameters:
--   p_timings  - what the last lap returned; NULL starts the watch
--   p_phase    - name of the phase that ends here
-- Returns:
--   seconds per phase, and the time of this lap under the key "lap"
declare
    v_now double precision := extract(epoch from clock_timestamp());
begin
    if p_timings is null then
        return jsonb_build_object('lap', v_now);
    end if;
    return p_timings || jsonb_build_object(
        p_phase, round((v_now - (p_timings ->> 'lap')::double precision)::numeric, 6),
        'lap', v_now);
end
$$;
comment on function l1_api.lap(jsonb, text) is 'Ends a phase of an ingest: adds the seconds since the last lap';
