create function l1_api.note_trouble(p_destination text, p_trouble text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.note_trouble(2)
    --
    --   Says why a destination cannot be reached, or that it can.
    --
    -- Parameters:
    --   p_destination  - name
    --   p_trouble      - why; NULL: it answers
    -- Writes:  l1.destination, if that is news
    update l1.destination d
       set trouble = p_trouble,
           trouble_since = case when p_trouble is not null then coalesce(d.trouble_since, clock_timestamp()) end
     where d.destination = p_destination
       and d.trouble is distinct from p_trouble
$$;
comment on function l1_api.note_trouble(text, text) is 'Says why a destination cannot be reached, or that it can';
