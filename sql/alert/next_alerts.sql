create function l1_api.next_alerts(
    p_consumer text,
    p_limit    integer default 1000,
    p_lease    interval default '5 minutes'
)
returns table (
    batch_id           bigint,
    alert_id           bigint,
    kind               text,
    dia_source_id      bigint,
    midpoint_mjd_tai   double precision,
    visit              bigint,
    detector           smallint,
    dia_object_id      bigint,
    dia_object_version timestamptz,
    ss_object_id       bigint,
    ss_object_version  timestamptz,
    survey_version     integer,
    stamp              timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.next_alerts(3)
--
--   Hands out the consumer's next batch: one whose lease has run out, else a new one.  Nothing is lost by it: only
--   ack_alerts ends a batch.  How to consume stands with add_consumer.
--
-- Parameters:
--   p_consumer  - name
--   p_limit     - most alerts in a new batch; one that is handed out again is as large as it was
--   p_lease     - for how long the batch is the caller's
-- Returns:
--   the alerts of one batch in order of (xid, alert_id); no rows if there is nothing
-- Reads:   l1.alert
-- Writes:  l1.alert_cursor, l1.alert_batch
-- Locks:   the row of an expired batch, or else the consumer's cursor; waits for no other transaction than next_alerts
--          of the same consumer
--
-- Algorithm:
--   The cursor is a snapshot: all alerts visible in it were cut into batches.  When it is used up, a window is opened
--   from there to the present snapshot and cut in pieces of p_limit; a batch keeps the window and its two ends, and so
--   always holds the same alerts.  Lock and snapshot are two statements: whoever waited for the lock must not go on with
--   the snapshot from before it, or the cursor moves back and alerts come twice.
declare
    v_batch   l1.alert_batch;
    v_cursor  l1.alert_cursor;
    v_until   pg_snapshot;
    v_cut     record;
begin
    perform l1_api.refuse_other_isolation();
    if p_limit is null or p_limit < 1 then
        raise exception 'a batch holds at least one alert, not %', coalesce(p_limit::text, 'NULL')
            using errcode = 'L1A05';
    end if;
    if p_lease is null or p_lease < interval '0' then
        raise exception 'a lease lasts some time, not %', coalesce(p_lease::text, 'NULL')
            using errcode = 'L1A08';
    end if;
    perform l1_api.require_consumer(p_consumer);

    select b.*
      into v_batch
      from l1.alert_batch b
     where b.consumer = p_consumer
       and b.acked_at is null
       and b.leased_until < clock_timestamp()
     order by b.batch_id
     limit 1
       for update skip locked;

    if found then
        update l1.alert_batch b
           set leased_by = current_setting('application_name'),
               leased_until = clock_timestamp() + p_lease,
               n_leases = b.n_leases + 1
         where b.batch_id = v_batch.batch_id;
    else
        select c.* into v_cursor from l1.alert_cursor c where c.consumer = p_consumer for update;
        v_until := coalesce(v_cursor.window_end, l1_api.present_snapshot());
        select * into v_cut
          from l1_api.cut_alerts(v_cursor.seen, v_until, v_cursor.after_xid, v_cursor.after_alert_id,
                                 v_cursor.not_before, p_limit);

        if v_cut.n_alerts = 0 and v_cursor.window_end is not null then
            -- The window is used up: on to the present.
            v_cursor.seen := v_cursor.window_end;
            v_cursor.after_xid := null;
            v_cursor.after_alert_id := null;
            v_cursor.not_before := null;
            v_until := l1_api.present_snapshot();
            select * into v_cut
              from l1_api.cut_alerts(v_cursor.seen, v_until, null, null, null, p_limit);
        end if;

        if v_cut.n_alerts = 0 then
            update l1.alert_cursor c
               set seen = v_until,
                   window_end = null,
                   after_xid = null,
                   after_alert_id = null,
                   not_before = null
             where c.consumer = p_consumer;
            return;
        end if;

        update l1.alert_cursor c
           set seen = v_cursor.seen,
               window_end = v_until,
               after_xid = v_cut.upto_xid,
               after_alert_id = v_cut.upto_alert_id,
               not_before = v_cursor.not_before
         where c.consumer = p_consumer;
        insert into l1.alert_batch as b (consumer, seen, window_end, after_xid, after_alert_id, upto_xid, upto_alert_id,
                                         not_before, n_alerts, leased_by, leased_until)
        values (p_consumer, v_cursor.seen, v_until, v_cursor.after_xid, v_cursor.after_alert_id, v_cut.upto_xid,
                v_cut.upto_alert_id, v_cursor.not_before, v_cut.n_alerts, current_setting('application_name'),
                clock_timestamp() + p_lease)
        returning b.* into v_batch;
    end if;

    return query
    select v_batch.batch_id, a.alert_id, a.kind, a.dia_source_id, a.midpoint_mjd_tai, a.visit, a.detector,
           a.dia_object_id, a.dia_object_version, a.ss_object_id, a.ss_object_version, a.survey_version, a.stamp
      from l1_api.alerts_between(v_batch.seen, v_batch.window_end, v_batch.after_xid, v_batch.after_alert_id,
                                 v_batch.not_before) as a
     limit v_batch.n_alerts;
end
$$;
comment on function l1_api.next_alerts(text, integer, interval) is
    'Hands out a consumer''s next batch of alerts; see add_consumer';
