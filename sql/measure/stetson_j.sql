create function l1_api.stetson_j(p_flux double precision[], p_flux_err double precision[])
returns double precision
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
-- Function: l1_api.stetson_j(2)
--
--   Stetson's J of a light curve in one band (Stetson 1996, PASP 108, 851), as LSST's ap_stetsonJ has it: around -0.3 for
--   noise, large where fluxes scatter by more than their errors say.
--
-- Parameters:
--   p_flux, p_flux_err  - fluxes and their 1-sigma errors [nJy], of which each is positive, or NULL: does not count
-- Returns:
--   J; NULL for fewer than two epochs
--
-- Algorithm:
--   J is the mean of sign(P) sqrt|P|, P = n / (n - 1) ((flux - mean) / error)**2 - 1.  The mean is robust: from the
--   weighted one it goes at most 20 steps, each with weights 1 / (error**2 + n / (n - 1) (flux - mean)**2 / 4).  LSST
--   stops where the change is below 1e-6 and below 1e-6 of the mean, sign included: a negative mean always meets the
--   second condition, zero never.
--   Loops over arrays: for short curves, which most are, starting a query for each step would take most of the time.
declare
    v_flux     double precision[] := p_flux;
    v_variance double precision[];
    v_n        integer;
    v_scale    double precision;
    v_mean     double precision;
    v_offset   double precision;
    v_weight   double precision;
    v_weights  double precision;
    v_shift    double precision;
    v_excess   double precision;
    v_sum      double precision := 0;
begin
    if array_position(p_flux_err, null) is not null then
        select array_agg(e.flux) filter (where e.flux_err is not null)
          into v_flux
          from (select unnest(p_flux) as flux, unnest(p_flux_err) as flux_err) as e;
    end if;
    v_n := coalesce(cardinality(v_flux), 0);
    if v_n < 2 then
        return null;
    end if;
    select array_agg(e.flux_err * e.flux_err),
           v_flux[1] + sum((e.flux - v_flux[1]) / (e.flux_err * e.flux_err)) / sum(1 / (e.flux_err * e.flux_err))
      into v_variance, v_mean
      from (select unnest(p_flux) as flux, unnest(p_flux_err) as flux_err) as e
     where e.flux_err is not null;

    v_scale := v_n / (4 * (v_n - 1)::double precision);
    for v_step in 1..20 loop
        v_weights := 0;
        v_shift := 0;
        for i in 1..v_n loop
            v_offset := v_flux[i] - v_mean;
            v_weight := 1 / (v_variance[i] + v_scale * v_offset * v_offset);
            v_weights := v_weights + v_weight;
            v_shift := v_shift + v_weight * v_offset;
        end loop;
        v_shift := v_shift / v_weights;
        v_mean := v_mean + v_shift;
        exit when abs(v_shift) < 1e-6 and (v_mean < 0 or abs(v_shift) < 1e-6 * v_mean);
    end loop;

    for i in 1..v_n loop
        v_offset := v_flux[i] - v_mean;
        v_excess := 4 * v_scale * v_offset * v_offset / v_variance[i] - 1;
        v_sum := v_sum + sign(v_excess) * sqrt(abs(v_excess));
    end loop;
    return v_sum / v_n;
end
$$;
comment on function l1_api.stetson_j(double precision[], double precision[]) is
    'Stetson''s J of a light curve in one band';
