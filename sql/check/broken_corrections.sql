create function l1_api.broken_corrections()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_corrections(0)
    --
    --   Every correction is one writing transaction, which its update records belong to and every source that was
    --   corrected
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.correction, l1.update_record, l1.stamp, l1.dia_source_history
    select 'correction', c.correction_id, format('has stamp %s, which is none', c.stamp)
      from l1.correction c
     where not exists (select from l1.stamp s where s.stamp = c.stamp)
    union all
    select 'correction', u.correction_id, format('has an update record of %s, and %s', u.stamp,
                                                 coalesce('was made at ' || c.stamp, 'never was'))
      from l1.update_record u
      left join l1.correction c
        on c.correction_id = u.correction_id
     where u.correction_id is not null
       and c.stamp is distinct from u.stamp
    union all
    select 'dia_source', h.dia_source_id, format('was %s at %s by no correction', h.closed_reason, h.validity_end)
      from l1.dia_source_history h
     where h.closed_reason in ('withdrawn', 'detector_withdrawn', 'moved', 'merged', 'undone')
       and not exists (select from l1.correction c where c.stamp = h.validity_end)
$$;
comment on function l1_api.broken_corrections() is
    'Every correction is one writing transaction, which its update records belong to and every source that was corrected';
