create function l1_api.keep_packets(
    p_alert_ids      bigint[],
    p_format         text,
    p_schema_version text,
    p_sha256s        bytea[],
    p_n_bytes        integer[]
)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.keep_packets(5)
--
--   Enters what the first build of packets produced; of later builds, says which differ from it.
--
-- Parameters:
--   p_alert_ids, p_sha256s, p_n_bytes  - the alerts, and hash and size of the packet of each
--   p_format, p_schema_version         - lsst-11.1, l1db or voevent, and the version of its schema
-- Returns:
--   alerts whose packet is another than the first: something is wrong, and it must not be sent
-- Writes:  l1.alert_packet
begin
    perform l1_api.refuse_other_isolation();
    insert into l1.alert_packet (alert_id, format, schema_version, sha256, n_bytes)
    select given.alert_id, p_format, p_schema_version, given.sha256, given.n_bytes
      from unnest(p_alert_ids, p_sha256s, p_n_bytes) as given(alert_id, sha256, n_bytes)
     order by given.alert_id
        on conflict do nothing;

    return query
    select p.alert_id
      from unnest(p_alert_ids, p_sha256s) as given(alert_id, sha256)
      join l1.alert_packet p
        on p.alert_id = given.alert_id
       and p.format = p_format
     where p.sha256 <> given.sha256
     order by p.alert_id;
end
$$;
comment on function l1_api.keep_packets(bigint[], text, text, bytea[], integer[]) is
    'Enters what the first build of packets produced; of later builds, says which differ from it';
