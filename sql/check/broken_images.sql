create function l1_api.broken_images()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_images(0)
    --
    --   Images are of detectors that the ledger has or had; what waits to be measured is of a known object and a live detector
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.image, l1.precovery_task, l1.visit_detector, l1.dia_object, l1.dia_object_history
    select 'image', i.visit, format('%s of detector %s: the ledger has no such detector', i.kind, i.detector)
      from l1.image i
     where not exists (select
                         from l1.visit_detector d
                        where d.visit = i.visit
                          and d.detector = i.detector)
    union all
    select 'precovery_task', t.visit, format('detector %s: the ledger has no such detector', t.detector)
      from l1.precovery_task t
     where not exists (select
                         from l1.visit_detector d
                        where d.visit = t.visit
                          and d.detector = t.detector
                          and d.withdrawn_at is null)
    union all
    select 'precovery_task', t.visit, format('detector %s: object %s never was', t.detector, t.dia_object_id)
      from l1.precovery_task t
     where not exists (select from l1.dia_object o where o.dia_object_id = t.dia_object_id)
       and not exists (select from l1.dia_object_history h where h.dia_object_id = t.dia_object_id)
$$;
comment on function l1_api.broken_images() is
    'Images are of detectors that the ledger has or had; what waits to be measured is of a known object and a live detector';
