"""Corrections of what is stored: who made them and why, and what stores downstream must be told.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COMMENTS = {
    "correction": {
        "": "Corrections of what is stored, each one transaction; append-only",
        "correction_id": "Identifier of the correction",
        "kind": "What was done: the function of l1_api that did it",
        "reason": "Why",
        "operator": "Who made it",
        "login": "The login that made it",
        "given": "What was asked for: the arguments of the function",
        "undoes": "The correction that this one undoes",
        "n_sources": "DiaSources withdrawn, moved or brought back, forced ones too",
        "n_objects": "DiaObjects measured anew",
        "n_retired": "DiaObjects retired",
        "stamp": "Stamp of the transaction (database time)",
    },
    "update_record": {
        "": "What stores downstream must change in rows that they have, in Rubin''s six types; append-only",
        "stamp": "When it was changed: stamp of the transaction (database time)",
        "xid": "The transaction",
        "update_order": "Order within the transaction",
        "update_type": "Rubin''s name of what changes",
        "correction_id": "The correction; NULL: a replacement by the ingest",
        "dia_source_id": "The DiaSource, forced or not; NULL: the record is of a DiaObject",
        "ra": "Right ascension of the source or object, ICRS [deg]",
        "dec": "Declination of the source or object, ICRS [deg]",
        "midpoint_mjd_tai": "Midpoint of the source, MJD TAI [d]",
        "visit": "Visit of the source",
        "detector": "Detector of the source",
        "dia_object_id": "The DiaObject; of a source, the one it was given to",
        "former_dia_object_id": "The DiaObject that the source belonged to before",
        "ss_object_id": "The SSObject that the source was given to",
        "n_dia_sources": "Number of detections of the DiaObject now",
    },
}


def upgrade() -> None:
    op.execute(
        """
        create table l1.correction (
            correction_id bigint generated always as identity,
            kind text not null,
            reason text not null,
            operator text not null,
            login text default session_user not null,
            given jsonb not null,
            undoes bigint,
            n_sources integer not null,
            n_objects integer not null,
            n_retired integer not null,
            stamp timestamptz not null,
            constraint correction_pkey primary key (correction_id),
            constraint correction_undoes_fkey foreign key (undoes) references l1.correction (correction_id),
            constraint correction_reason_check check (reason ~ '[^[:space:]]'),
            constraint correction_operator_check check (operator ~ '[^[:space:]]')
        )
        """
    )
    op.execute("create unique index correction_undoes_idx on l1.correction (undoes) where undoes is not null")
    op.execute(
        """
        create table l1.update_record (
            stamp timestamptz not null,
            xid xid8 default pg_current_xact_id() not null,
            update_order integer not null,
            update_type text not null,
            correction_id bigint,
            dia_source_id bigint,
            ra double precision not null,
            dec double precision not null,
            midpoint_mjd_tai double precision,
            visit bigint,
            detector smallint,
            dia_object_id bigint,
            former_dia_object_id bigint,
            ss_object_id bigint,
            n_dia_sources integer,
            constraint update_record_pkey primary key (stamp, xid, update_order),
            constraint update_record_update_type_check check (update_type in (
                'reassign_diasource_to_diaobject', 'reassign_diasource_to_ssobject', 'withdraw_diasource',
                'withdraw_diaforcedsource', 'close_diaobject_validity', 'update_n_dia_sources')),
            constraint update_record_source_check check (
                update_type in ('close_diaobject_validity', 'update_n_dia_sources')
                or dia_source_id is not null and midpoint_mjd_tai is not null and visit is not null
                and detector is not null),
            constraint update_record_object_check check (
                case update_type when 'withdraw_diaforcedsource' then former_dia_object_id is not null
                                 when 'withdraw_diasource' then true
                                 when 'reassign_diasource_to_ssobject' then true
                                 else dia_object_id is not null end),
            constraint update_record_ss_object_check check (
                (ss_object_id is not null) = (update_type = 'reassign_diasource_to_ssobject'))
        )
        """
    )
    op.execute("create index update_record_correction_id_idx on l1.update_record (correction_id)")
    op.execute(
        "create index dia_source_history_dia_object_id_validity_end_idx"
        " on l1.dia_source_history (dia_object_id, validity_end)"
    )
    op.execute("alter table l1.visit_detector add column n_withdrawn integer default 0 not null")
    op.execute(
        "comment on column l1.visit_detector.n_withdrawn is"
        " 'Of its n_sources, those that corrections have withdrawn since'"
    )
    for table, comments in _COMMENTS.items():
        for column, comment in comments.items():
            what = f"column l1.{table}.{column}" if column else f"table l1.{table}"
            op.execute(f"comment on {what} is '{comment}'")


def downgrade() -> None:
    op.execute("alter table l1.visit_detector drop column n_withdrawn")
    op.execute("drop index l1.dia_source_history_dia_object_id_validity_end_idx")
    op.execute("drop table l1.update_record")
    op.execute("drop table l1.correction")
