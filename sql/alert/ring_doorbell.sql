create function l1_api.ring_doorbell()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Trigger function: l1_api.ring_doorbell(0)
--
--   Tells listeners on channel l1_alert that there are new alerts: one notification per statement that made any, sent at
--   commit.  The notification is the doorbell, the table is the letter.
--
-- Payload:
--   {"visit": "<id>", "detectors": [1, 2, ...], "n": <alerts>}; visit is left out if there are several, detectors if
--   they do not fit
declare
    v_bell jsonb;
begin
    select jsonb_build_object('n', count(*))
           || case when min(a.visit) = max(a.visit)
                   then jsonb_build_object('visit', min(a.visit)::text,
                                           'detectors', jsonb_agg(distinct a.detector))
                   else '{}' end
      into v_bell
      from arrived a
    having count(*) > 0;
    if v_bell is null then
        return null;
    end if;

    if octet_length(v_bell::text) >= 8000 then
        v_bell := v_bell - 'detectors';
    end if;
    perform pg_notify('l1_alert', v_bell::text);
    return null;
end
$$;
comment on function l1_api.ring_doorbell() is 'Trigger: tells listeners that there are new alerts';

create trigger "20_ring_doorbell"
    after insert on l1.alert
    referencing new table as arrived
    for each statement
    execute function l1_api.ring_doorbell();
