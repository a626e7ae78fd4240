"""The list of writing transactions, and the places that DiaObjects have left: what as-of queries stand on.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table l1.stamp (
            stamp timestamptz not null,
            xid xid8 default pg_current_xact_id() not null,
            settled timestamptz,
            constraint stamp_pkey primary key (stamp, xid),
            constraint stamp_settled_check check (settled < stamp)
        )
        """
    )
    op.execute("create index stamp_xid_idx on l1.stamp (xid)")
    op.execute("create index stamp_settled_idx on l1.stamp (settled)")
    op.execute(
        """
        create table l1.dia_object_former_place (
            dia_object_id bigint not null,
            left_at timestamptz not null,
            ra double precision not null,
            dec double precision not null,
            constraint dia_object_former_place_pkey primary key (dia_object_id, left_at)
        )
        """
    )
    op.execute(
        "create index dia_object_former_place_q3c_idx on l1.dia_object_former_place (public.q3c_ang2ipix(ra, dec))"
    )
    for table, comment in (
        ("stamp", "The writing transactions, each with its stamp; append-only"),
        ("dia_object_former_place",
         "Where DiaObjects last were before they left a small cell of the sky or were retired; append-only"),
    ):  # fmt: skip
        op.execute(f"comment on table l1.{table} is '{comment}'")
    for table, name, comment in (
        ("stamp", "stamp", "The time that all rows of the transaction carry (database time)"),
        ("stamp", "xid", "The transaction"),
        ("stamp", "settled", "Whoever sees this row: as-of answers at or before this time are final (database time); "
         "NULL: none was"),
        ("dia_object_former_place", "dia_object_id", "DiaObject"),
        ("dia_object_former_place", "left_at", "End of the last version that lay there (database time)"),
        ("dia_object_former_place", "ra", "Right ascension of that version, ICRS [deg]"),
        ("dia_object_former_place", "dec", "Declination of that version, ICRS [deg]"),
    ):  # fmt: skip
        op.execute(f"comment on column l1.{table}.{name} is '{comment}'")

    # What databases already hold: the stamps that they can tell, the newest among them; and every place that was left.
    op.execute(
        """
        insert into l1.stamp (stamp)
        select v.time_processed from l1.visit_detector v where v.time_processed is not null
        union
        select v.withdrawn_at from l1.visit_detector v where v.withdrawn_at is not null
        union
        select o.validity_start from l1.dia_object o
        union
        (select max(h.validity_end) from l1.dia_object_history h having count(*) > 0)
        union
        (select max(s.validity_start) from l1.dia_source s having count(*) > 0)
        union
        (select max(h.validity_end) from l1.dia_source_history h having count(*) > 0)
        """
    )
    op.execute(
        """
        insert into l1.dia_object_former_place (dia_object_id, left_at, ra, dec)
        select v.dia_object_id, v.validity_end, v.ra, v.dec
          from (
            select version.*,
                   lead(version.cell) over following as next_cell,
                   lead(version.validity_start) over following as next_start
              from (
                select h.dia_object_id, h.validity_start, h.validity_end, h.ra, h.dec,
                       public.q3c_ang2ipix(h.ra, h.dec) >> 26 as cell
                  from l1.dia_object_history h
                union all
                select o.dia_object_id, o.validity_start, null, o.ra, o.dec, public.q3c_ang2ipix(o.ra, o.dec) >> 26
                  from l1.dia_object o
              ) as version
            window following as (partition by version.dia_object_id order by version.validity_start)
          ) as v
         where v.validity_end is not null
           and (v.cell, v.validity_end) is distinct from (v.next_cell, v.next_start)
         order by v.dia_object_id
        """
    )


def downgrade() -> None:
    op.execute("drop table l1.dia_object_former_place")
    op.execute("drop table l1.stamp")
