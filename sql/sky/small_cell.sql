create function l1_api.small_cell(p_ra double precision, p_dec double precision)
returns bigint
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.small_cell(2)
    --
    --   The level-17 q3c cell that a position lies in: about 3 arcsec wide.
    --
    -- Parameters:
    --   p_ra, p_dec  - position, ICRS [deg]
    -- Returns:
    --   its number.  No two positions in one cell are more than 4.5 arcsec apart: q3c projects the sky from the centre of
    --   a cube, whose faces of width 2 are 2^17 cells wide, and nothing looks larger from there than at the middle of a
    --   face: sqrt(2) * 2 / 2^17 = 4.45 arcsec.
    select public.q3c_ang2ipix(p_ra, p_dec) >> 26
$$;
comment on function l1_api.small_cell(double precision, double precision) is
    'The cell of the sky, about 3 arcsec wide, that a position lies in';
