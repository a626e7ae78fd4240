create view l1_api.invariant as
    -- View: l1_api.invariant
    --
    --   What holds in a sound database: each promise with the function that lists what breaks it.  A function named
    --   broken_... is one of them, and its comment the promise.  All of them at once, in pieces and in one snapshot:
    --   l1db check --deep.
    select p.proname::text as name,
           obj_description(p.oid, 'pg_proc') as promise,
           case p.proargnames[1]
               when 'p_first_object' then 'objects'
               when 'p_from_mjd_tai' then 'nights'
               else 'all'
           end as taken_by
      from pg_proc p
     where p.pronamespace = 'l1_api'::regnamespace
       and p.proname like 'broken\_%';
comment on view l1_api.invariant is
    'What holds in a sound database, and the functions that list what breaks it';
