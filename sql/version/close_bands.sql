create function l1_api.close_bands(p_band text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.close_bands(1)
--
--   Closes the current version of the touched objects' bands that have no epoch in the window any more.
--
-- Parameters:
--   p_band  - the band that was measured; of objects where it may matter, every band was
-- Reads:   pg_temp.touched, pg_temp.measured_band
-- Writes:  l1.dia_object_band (history by trigger)
begin
    delete from l1.dia_object_band b
     using pg_temp.touched t
     where b.dia_object_id = t.dia_object_id
       and (b.band = p_band or t.all_bands)
       and not exists (select
                         from pg_temp.measured_band m
                        where m.dia_object_id = b.dia_object_id
                          and m.band = b.band);
end
$$;
comment on function l1_api.close_bands(text) is
    'Closes the current version of the touched objects'' bands that have no epoch any more';
