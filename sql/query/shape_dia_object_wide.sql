create function l1_api.shape_dia_object_wide()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.shape_dia_object_wide(0)
--
--   Gives the view dia_object_wide the bands of the survey: when the code is installed, and in the transaction that changes
--   the rules.
--
-- Reads:   l1.survey, the catalogue
-- Writes:  the view l1_api.dia_object_wide
-- Errors:  L1S05 if a band's name leaves no room for those of its columns
--          L1S06 if bands were taken away, or have changed places, and a view of somebody's stands on dia_object_wide
--
-- Algorithm:
--   One left join per band, on the primary key of dia_object_band: the planner drops those of which nothing is asked, and
--   looks the others up by index.  A band is part of the name exactly as the survey writes it (L and l are two), quoted
--   where it must be.
--   As long as bands only follow those that were there, the view is replaced, and what others built on it stays.  Else it
--   is made anew, with the rights it had.
declare
    v_bands      text[] := coalesce((select s.bands from l1_api.current_survey() as s), '{}');
    v_columns    text;
    v_long       text;
    v_joins      text;
    v_definition text;
    v_grants     text[];
    v_grant      text;
begin
    select string_agg(format(case when a.attname = 'psf_flux_ndata' then 'coalesce(b%s.%I, 0) as %I'
                                  else 'b%s.%I as %I' end,
                             b.rank, a.attname, b.band || '_' || a.attname),
                      ', ' order by b.rank, a.attnum),
           min(b.band) filter (where octet_length(b.band || '_' || a.attname) > 63)
      into v_columns, v_long
      from (select given.band, min(given.rank) as rank
              from unnest(v_bands) with ordinality as given(band, rank)
             group by given.band) as b
     cross join pg_attribute a
     where a.attrelid = 'l1.dia_object_band'::regclass
       and a.attnum > 0
       and not a.attisdropped
       and a.attname not in ('dia_object_id', 'band', 'validity_start');
    if v_long is not null then
        raise exception 'the name of band % is too long to name columns of dia_object_wide', v_long
            using errcode = 'L1S05',
                  hint = 'Give it a shorter one.';
    end if;
    select string_agg(format('left join l1.dia_object_band b%1$s on b%1$s.dia_object_id = o.dia_object_id'
                             ' and b%1$s.band = %2$L', b.rank, b.band), ' ' order by b.rank)
      into v_joins
      from (select given.band, min(given.rank) as rank
              from unnest(v_bands) with ordinality as given(band, rank)
             group by given.band) as b;
    v_definition := format('view l1_api.dia_object_wide as select %s from l1.dia_object o %s',
                           concat_ws(', ', 'o.*', v_columns), v_joins);

    begin
        execute 'create or replace ' || v_definition;
    exception when invalid_table_definition then
        v_grants := array(
            select format('grant %s on l1_api.dia_object_wide to %s', r.privilege_type,
                          case when r.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(r.grantee)) end)
              from pg_class c
             cross join lateral aclexplode(c.relacl) as r
             where c.oid = 'l1_api.dia_object_wide'::regclass
               and r.grantee <> c.relowner);
        begin
            drop view l1_api.dia_object_wide;
        exception when dependent_objects_still_exist then
            raise exception 'views stand on dia_object_wide, whose bands would not be the same'
                using errcode = 'L1S06',
                      hint = 'Drop them first, or only add bands behind those there are.';
        end;
        execute 'create ' || v_definition;
        foreach v_grant in array v_grants loop
            execute v_grant;
        end loop;
    end;
    comment on view l1_api.dia_object_wide is
        'The current DiaObjects, with their light-curve statistics in LSST''s columns per band';
end
$$;
comment on function l1_api.shape_dia_object_wide() is
    'Gives the view dia_object_wide the bands of the survey';
