"""The query that holds versions against their promise."""

from __future__ import annotations

import psycopg

# One row per break: two current versions, an empty or reversed interval, an overlap, a gap, or an object that ends
# without a reason.  What ended with one may come again.  A band may end with its last epoch, and a source may be
# withdrawn and come again.
_BREAKS = """
    with version (what, dia_object_id, band, validity_start, validity_end, may_end) as (
        select 'object', v.dia_object_id, '', v.validity_start, v.validity_end, v.retired_reason is not null
          from l1_api.dia_object_version v
        union all
        select 'band', b.dia_object_id, b.band, b.validity_start, null, false
          from l1.dia_object_band b
        union all
        select 'band', h.dia_object_id, h.band, h.validity_start, h.validity_end,
               not exists (select from l1.dia_source s where s.dia_object_id = h.dia_object_id and s.band = h.band)
          from l1.dia_object_band_history h
        union all
        select 'source', s.dia_source_id, '', s.validity_start, null, false
          from l1.dia_source s
        union all
        select 'source', h.dia_source_id, '', h.validity_start, h.validity_end, true
          from l1.dia_source_history h
    ), ordered as (
        select version.*,
               lead(version.validity_start) over thing as next_start,
               row_number() over thing < count(*) over (partition by what, dia_object_id, band) as has_next
          from version
        window thing as (partition by what, dia_object_id, band order by version.validity_start, validity_end)
    )
    select what, dia_object_id, band, validity_start::text, validity_end::text, next_start::text
      from ordered
     where validity_end <= validity_start
        or has_next and validity_end is null
        or next_start < validity_end
        or next_start > validity_end and what = 'object' and not may_end
        or not has_next and validity_end is not null and not may_end
"""


def breaks(connection: psycopg.Connection) -> list[tuple[str, ...]]:
    """Every place where the versions of an object, of one of its bands or of a source break the promise."""
    return connection.execute(_BREAKS).fetchall()
