create function l1_api.keep_cutouts(
    p_dia_source_ids bigint[],
    p_kinds          text[],
    p_encodings      text[],
    p_sha256s        bytea[],
    p_n_bytes        integer[],
    p_packs          text[],
    p_starts         bigint[],
    p_troubles       text[]
)
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.keep_cutouts(8)
    --
    --   Enters cutouts that lie in the archive, or that there are none.  What is decided stays: who comes second changes
    --   nothing.
    --
    -- Parameters:
    --   as the columns of l1.cutout, an element for each
    -- Returns:
    --   number of cutouts entered
    -- Writes:  l1.cutout
    with kept as (
        insert into l1.cutout (dia_source_id, kind, encoding, sha256, n_bytes, pack, start, trouble)
        select given.*
          from unnest(p_dia_source_ids, p_kinds, p_encodings, p_sha256s, p_n_bytes, p_packs, p_starts, p_troubles)
               as given(dia_source_id, kind, encoding, sha256, n_bytes, pack, start, trouble)
         order by given.dia_source_id, given.kind, given.encoding
            on conflict do nothing
        returning 1
    )
    select count(*) from kept
$$;
comment on function l1_api.keep_cutouts(bigint[], text[], text[], bytea[], integer[], text[], bigint[], text[]) is
    'Enters cutouts that lie in the archive, or that there are none';
