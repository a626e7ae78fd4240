create function l1_api.broken_redirects()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_redirects(0)
    --
    --   Where a retired object leads is known, at last a current object or one that leads nowhere, and never back to
    --   itself
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_history
    with recursive last as (
        select distinct on (h.dia_object_id) h.dia_object_id, h.redirect_to
          from l1.dia_object_history h
         where h.retired_reason is not null
            or h.redirect_to is not null
         order by h.dia_object_id, h.validity_start desc
    ), step as (
        select last.dia_object_id, last.redirect_to
          from last
         where last.redirect_to is not null
           and not exists (select from l1.dia_object o where o.dia_object_id = last.dia_object_id)
    ), way as (
        select step.dia_object_id, step.redirect_to
          from step
        union all
        select way.dia_object_id, step.redirect_to
          from way
          join step
            on step.dia_object_id = way.redirect_to
    ) cycle dia_object_id, redirect_to set is_cycle using path
    select 'dia_object', step.dia_object_id, format('leads to %s, which never was', step.redirect_to)
      from step
     where not exists (select from l1.dia_object o where o.dia_object_id = step.redirect_to)
       and not exists (select from l1.dia_object_history h where h.dia_object_id = step.redirect_to)
    union all
    select 'dia_object', way.dia_object_id, 'leads back to itself'
      from way
     where way.redirect_to = way.dia_object_id
       and not way.is_cycle
    union all
    select 'dia_object', h.dia_object_id,
           format('leads to %s since %s, and was not retired', h.redirect_to, h.validity_end)
      from l1.dia_object_history h
     where h.redirect_to is not null
       and h.retired_reason is null
    union all
    select 'dia_object', h.dia_object_id, format('was merged at %s, and leads nowhere', h.validity_end)
      from l1.dia_object_history h
     where h.retired_reason = 'merged'
       and h.redirect_to is null
$$;
comment on function l1_api.broken_redirects() is
    'Where a retired object leads is known, at last a current object or one that leads nowhere, and never back to itself';
