create function l1_api.sky_cells(
    p_ra     double precision,
    p_dec    double precision,
    p_radius double precision
)
returns setof integer
language sql
immutable
strict
parallel safe
rows 20
set search_path = pg_catalog, public, pg_temp
as $$
    -- Function: l1_api.sky_cells(3)
    --
    --   The level-9 q3c cells (about 10 arcmin) that a cap touches; a few more at its rim, never one too few.
    --
    -- Parameters:
    --   p_ra, p_dec  - centre of the cap [deg]
    --   p_radius     - radius of the cap [deg]
    -- Returns:
    --   numbers of the cells: the upper 21 bits of q3c_ang2ipix, 0 to 6 * 4^9 - 1
    --
    -- Algorithm:
    --   Down the quad-tree from the six faces of the cube.  A cell of level n spans 2/2^n on its face, whose gnomonic
    --   projection never makes angles larger, so no point of it is farther than sqrt(2)/2^n rad from its middle: a cell
    --   whose middle is farther than that beyond the cap's rim cannot touch the cap.
    with recursive cell (level, number) as (
        select 0, face::bigint
          from generate_series(0, 5) as face
        union all
        select cell.level + 1,
               child.number
          from cell
         cross join lateral generate_series(cell.number * 4, cell.number * 4 + 3) as child(number)
         cross join lateral q3c_ipix2ang((child.number << (60 - 2 * (cell.level + 1)))
                                         | (3::bigint << (58 - 2 * (cell.level + 1)))) as middle(angle)
         where cell.level < 9
           and q3c_dist(p_ra, p_dec, middle.angle[1], middle.angle[2])
               <= p_radius + degrees(sqrt(2)) / (1 << (cell.level + 1))
    )
    select cell.number::integer
      from cell
     where cell.level = 9
$$;
comment on function l1_api.sky_cells(double precision, double precision, double precision) is
    'The level-9 q3c cells that a cap touches';
