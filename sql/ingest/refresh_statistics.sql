create function l1_api.refresh_statistics(p_table name, p_rows bigint)
returns void
language plpgsql
volatile
strict
set search_path = pg_catalog, pg_temp
as $$
-- Function: l1_api.refresh_statistics(2)
--
--   Analyses a working table if its size has changed by more than a factor of four since it last was.  A plan made for
--   one row takes minutes for 40 000; analysing makes the session plan anew, and not analysing keeps small calls fast.
--
-- Parameters:
--   p_table  - name of the working table
--   p_rows   - number of rows it has now
declare
    v_known real;
begin
    select c.reltuples
      into v_known
      from pg_class c
     where c.oid = to_regclass('pg_temp.' || quote_ident(p_table));
    if v_known is null or p_rows > 4 * greatest(v_known, 16) or 4 * p_rows < v_known then
        execute format('analyze pg_temp.%I', p_table);
    end if;
end
$$;
comment on function l1_api.refresh_statistics(name, bigint) is
    'Analyses a working table if its size has changed much since it last was';
