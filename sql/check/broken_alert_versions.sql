create function l1_api.broken_alert_versions()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_alert_versions(0)
    --
    --   Every alert has the version of its object that its transaction opened; a retraction has none where it retired the
    --   object
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert, l1.dia_object, l1.dia_object_history
    select 'alert', a.alert_id,
           case when a.kind = 'retraction' and a.dia_object_version is null
                then format('shows no version of object %s, which was not retired at %s', a.dia_object_id, a.stamp)
                when a.dia_object_version <> a.stamp
                then format('shows a version of %s, and its stamp is %s', a.dia_object_version, a.stamp)
                else format('there is no version of %s of object %s', a.dia_object_version, a.dia_object_id) end
      from l1.alert a
     where a.dia_object_id is not null
       and not (a.kind = 'retraction' and a.dia_object_version is null)
       and (a.dia_object_version is distinct from a.stamp
            or not exists (select
                             from l1.dia_object o
                            where o.dia_object_id = a.dia_object_id
                              and o.validity_start = a.dia_object_version)
               and not exists (select
                                 from l1.dia_object_history h
                                where h.dia_object_id = a.dia_object_id
                                  and h.validity_start = a.dia_object_version))
        or a.dia_object_id is not null
       and a.kind = 'retraction'
       and a.dia_object_version is null
       and (not exists (select
                          from l1.dia_object_history h
                         where h.dia_object_id = a.dia_object_id
                           and h.validity_end = a.stamp)
            or exists (select
                         from l1.dia_object o
                        where o.dia_object_id = a.dia_object_id
                          and o.validity_start = a.stamp)
            or exists (select
                         from l1.dia_object_history h
                        where h.dia_object_id = a.dia_object_id
                          and h.validity_start = a.stamp))
$$;
comment on function l1_api.broken_alert_versions() is
    'Every alert has the version of its object that its transaction opened; a retraction has none where it retired the object';
