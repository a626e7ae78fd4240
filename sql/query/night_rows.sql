create function l1_api.night_rows(p_visit bigint, p_asof timestamptz, p_with_content boolean)
returns table (part text, detector smallint, name text, dia_object_id bigint, sha256 bytea, content text)
language sql
stable
as $$
    -- Function: l1_api.night_rows(3)
    --
    --   All that the digest of a night is made of, for one of its visits: a row for each thing, named without any id that
    --   l1db made.
    --
    -- Parameters:
    --   p_visit         - the visit
    --   p_asof          - database time; what came later is left out
    --   p_with_content  - whether the text is wanted that the hash is of
    -- Returns:
    --   part           - see night_digest
    --   detector       - NULL for what is the visit's
    --   name           - of the row within part and detector; those of equal rows may be equal
    --   dia_object_id  - the object it is about, in this database; not hashed
    --   sha256         - of the content
    --   content        - lines "column=value"
    select l.part, l.detector, l.name, l.dia_object_id,
           pg_catalog.sha256(convert_to(l.content, 'UTF8')),
           case when p_with_content then l.content end
      from l1_api.night_ledger(p_visit, p_asof) as l
    union all
    select r.part, r.detector, r.name, r.dia_object_id, r.sha256, r.content
      from l1_api.night_results(p_visit, p_asof, p_with_content) as r
$$;
comment on function l1_api.night_rows(bigint, timestamptz, boolean) is
    'All that the digest of a night is made of, for one of its visits';
