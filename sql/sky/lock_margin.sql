create function l1_api.lock_margin()
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.lock_margin(0)
    --
    --   By how much the sky that an ingest takes is wider than what it writes about, beside two association radii
    --   [arcsec].  An object that moves is not looked for farther than this from its mean position: so whoever writes it
    --   holds the cell that it is stored in, and no two do so at once.
    select 20::double precision
$$;
comment on function l1_api.lock_margin() is 'Margin of the sky lock, and longest way of a moving object [arcsec]';
