create function l1_api.broken_source_ids()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_source_ids(0)
    --
    --   A dia_source_id is that of one source: of one live row, and of one visit and detector throughout its history
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.dia_source_history
    select 'dia_source', s.dia_source_id, format('%s live rows have this id', count(*))
      from l1.dia_source s
     group by s.dia_source_id
    having count(*) > 1
    union all
    select 'dia_source', h.dia_source_id,
           format('is of visit %s, detector %s, and once was of visit %s, detector %s', s.visit, s.detector, h.visit, h.detector)
      from l1.dia_source_history h
      join l1.dia_source s
        on s.dia_source_id = h.dia_source_id
     where (s.visit, s.detector) <> (h.visit, h.detector)
    union all
    select 'dia_source_history', h.dia_source_id,
           format('was of %s visits and detectors', count(distinct (h.visit, h.detector)))
      from l1.dia_source_history h
     group by h.dia_source_id
    having count(distinct (h.visit, h.detector)) > 1
$$;
comment on function l1_api.broken_source_ids() is
    'A dia_source_id is that of one source: of one live row, and of one visit and detector throughout its history';
