create function l1_api.list_correcting(p_dia_source_ids bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_correcting(1)
--
--   Lists live sources for a correction, wherever they lie.  Refuses ids that are not live, and says why they are not.
--
-- Parameters:
--   p_dia_source_ids  - the sources, each once
-- Reads:   l1.dia_source, l1.dia_source_history
-- Writes:  pg_temp.correcting
--
-- Algorithm:
--   An id does not tell its leaf: its index is looked up in each.
declare
    v_trouble text;
begin
    if p_dia_source_ids is null or cardinality(p_dia_source_ids) = 0 or array_position(p_dia_source_ids, null) is not null
    then
        raise exception 'no DiaSources are given, or one is NULL'
            using errcode = 'L1C02',
                  hint = 'Give their dia_source_id as an array.';
    end if;

    delete from pg_temp.correcting;
    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object)
    select x.dia_source_id, x.midpoint_mjd_tai, x.ra, x.dec, x.visit, x.detector, x.band, x.is_forced,
           x.validity_start, x.dia_object_id
      from l1.dia_source x
     where x.dia_source_id = any (p_dia_source_ids);
    perform l1_api.refresh_statistics('correcting', (select count(*) from pg_temp.correcting));

    select string_agg(missing.why, ', ' order by missing.dia_source_id)
      into v_trouble
      from (
        select given.dia_source_id,
               format(case when former.dia_source_id is null then '%s is unknown' else '%s was withdrawn (%s)' end,
                      given.dia_source_id, former.closed_reason) as why
          from (select distinct unnest(p_dia_source_ids) as dia_source_id) as given
          left join lateral (
            select h.dia_source_id, h.closed_reason
              from l1.dia_source_history h
             where h.dia_source_id = given.dia_source_id
             order by h.validity_start desc
             limit 1
          ) as former
            on true
         where not exists (select from pg_temp.correcting c where c.dia_source_id = given.dia_source_id)
         order by given.dia_source_id
         limit 5
      ) as missing;
    if v_trouble is not null then
        raise exception 'not all of these are live DiaSources: %', v_trouble
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
end
$$;
comment on function l1_api.list_correcting(bigint[]) is 'Lists live sources for a correction, wherever they lie';
