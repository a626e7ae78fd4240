create function l1_api.broken_sightings()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_sightings(0)
    --
    --   A visit has at most one detection of an object, and each of its detectors at most one forced measurement
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source
    select 'dia_object', s.dia_object_id, format('%s detections in visit %s', count(*), s.visit)
      from l1.dia_source s
     where not s.is_forced
       and s.dia_object_id is not null
     group by s.visit, s.dia_object_id
    having count(*) > 1
    union all
    select 'dia_object', s.dia_object_id,
           format('%s forced measurements in visit %s, detector %s', count(*), s.visit, s.detector)
      from l1.dia_source s
     where s.is_forced
     group by s.visit, s.detector, s.dia_object_id
    having count(*) > 1
$$;
comment on function l1_api.broken_sightings() is
    'A visit has at most one detection of an object, and each of its detectors at most one forced measurement';
