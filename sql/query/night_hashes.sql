create function l1_api.night_hashes(p_day date, p_asof timestamptz)
returns table (part text, visit bigint, detector smallint, is_whole boolean, n bigint, sha256 bytea)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
set work_mem = '64MB'
as $$
-- Function: l1_api.night_hashes(2)
--
--   The digest of a night, and the hashes of its visits and detectors that it is made of: two nights that differ are
--   compared by these.
--
-- Parameters:
--   p_day, p_asof  - see night_digest
-- Returns:
--   part, visit, detector  - what was hashed; visit or detector NULL for what is the night's or the visit's
--   is_whole               - whether it is the hash of the whole part, or of all: the rows of night_digest, which come last
--   n                      - rows hashed
--   sha256                 - of names and hashes of the rows (night_rows), sorted; of a whole part a chain of these
-- Reads:  l1.visit, l1.visit_detector; see night_rows
--
-- Algorithm:
--   Visit by visit, so that memory is that of the largest visit.  Names are sorted by their bytes, not by a locale's order.
--   Reading all in one statement, it sees one state of the database.
declare
    v_parts constant text[] := array['inputs', 'software', 'rules', 'ledger', 'sources', 'associations', 'forced', 'objects',
                                     'bands', 'alerts'];
    v_first_result constant integer := 4;
    v_asof    timestamptz := coalesce(p_asof, 'infinity');
    v_sums    bytea[] := array_fill(pg_catalog.sha256(''), array[cardinality(v_parts)]);
    v_counts  bigint[] := array_fill(0::bigint, array[cardinality(v_parts)]);
    v_visits  bigint[];
    v_visit   bigint;
    v_position integer;
begin
    v_visits := array(
        select v.visit
          from l1.visit v
         where v.day_obs = p_day
           and exists (select from l1.visit_detector d where d.visit = v.visit and d.time_processed <= v_asof)
         order by v.visit);
    if cardinality(v_visits) = 0 then
        raise exception 'nothing is stored of night %', p_day
            using errcode = 'L1Q01',
                  hint = 'View night_summary lists the nights.';
    end if;

    foreach v_visit in array array_prepend(null, v_visits) loop
        for part, visit, detector, is_whole, n, sha256 in
            select r.part, v_visit, r.detector, false, count(*),
                   pg_catalog.sha256(string_agg(convert_to(r.name, 'UTF8') || '\x00' || r.sha256, ''
                                                order by r.name collate "C", r.sha256))
              from l1_api.night_rows(v_visit, v_asof, false) as r
             where v_visit is not null
             group by r.part, r.detector
            union all
            select 'software', null, null, false, 1,
                   pg_catalog.sha256(convert_to(obj_description('l1_api'::regnamespace, 'pg_namespace'), 'UTF8'))
             where v_visit is null
             order by 1, 3 nulls first
        loop
            v_position := array_position(v_parts, part);
            v_counts[v_position] := v_counts[v_position] + n;
            v_sums[v_position] := pg_catalog.sha256(v_sums[v_position] || sha256
                                                    || convert_to(format('%s %s', visit, detector), 'UTF8'));
            return next;
        end loop;
    end loop;

    return query
    with whole as (
        select p.part, p.position, v_counts[p.position] as n, v_sums[p.position] as sha256
          from unnest(v_parts) with ordinality as p(part, position)
    ), summary as (
        select w.part, w.position, w.n, w.sha256
          from whole w
        union all
        select 'results', cardinality(v_parts) + 1, sum(w.n),
               pg_catalog.sha256(string_agg(convert_to(w.part, 'UTF8') || '\x00' || w.sha256, '' order by w.position))
          from whole w
         where w.position >= v_first_result
        union all
        select 'total', cardinality(v_parts) + 2, sum(w.n),
               pg_catalog.sha256(string_agg(convert_to(w.part, 'UTF8') || '\x00' || w.sha256, '' order by w.position))
          from whole w
    )
    select s.part, null::bigint, null::smallint, true, s.n::bigint, s.sha256
      from summary s
     order by s.position;
end
$$;
comment on function l1_api.night_hashes(date, timestamptz) is
    'The digest of a night, and the hashes of its visits and detectors that it is made of';
