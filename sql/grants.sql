-- Who may do what.  People are members of these roles, never grantees themselves; a test compares the catalogue with
-- this file.
--   l1_read     reads everything
--   l1_ingest   takes visits in (SECURITY INVOKER: it writes the tables that ingest writes, and no others)
--   l1_publish  consumes alerts, archives cutouts, and keeps the ledger of deliveries
--   l1_filter   nothing yet
--   l1_admin    corrects what is stored, changes the survey's rules and the destinations, and all of the above

revoke all on schema l1, l1_api from public, l1_read, l1_ingest, l1_publish, l1_filter, l1_admin;
revoke all on all tables in schema l1, l1_api from public, l1_read, l1_ingest, l1_publish, l1_filter, l1_admin;
revoke all on all sequences in schema l1 from public, l1_read, l1_ingest, l1_publish, l1_filter, l1_admin;
revoke all on all functions in schema l1_api from public, l1_read, l1_ingest, l1_publish, l1_filter, l1_admin;

grant usage on schema l1, l1_api to l1_read, l1_ingest, l1_publish, l1_admin;

grant select on all tables in schema l1, l1_api to l1_read, l1_ingest, l1_publish, l1_admin;
grant execute on function
    l1_api.current_survey(),
    l1_api.leaf_bounds(double precision),
    l1_api.mean_ra(double precision, double precision),
    l1_api.mean_dec(double precision, double precision, double precision),
    l1_api.place_at(double precision, double precision, double precision, double precision, double precision),
    l1_api.spans_motion(bigint, double precision),
    l1_api.first_is_known(),
    l1_api.window_start(double precision, boolean, double precision, double precision),
    l1_api.as_real(double precision),
    l1_api.stetson_j(double precision[], double precision[]),
    l1_api.log_likelihood(double precision, double precision, double precision, double precision, double precision),
    l1_api.offset_variance(double precision, double precision, double precision),
    l1_api.bounding_cap(double precision[], double precision[]),
    l1_api.sky_cells(double precision, double precision, double precision),
    l1_api.leads_to(bigint),
    l1_api.cone_search(double precision, double precision, double precision),
    l1_api.cone_search(bigint, double precision),
    l1_api.light_curve(bigint),
    l1_api.coincident_objects(double precision),
    l1_api.oldest_announced(),
    l1_api.has_committed_since(pg_snapshot),
    l1_api.settled_time(pg_snapshot),
    l1_api.safe_asof(),
    l1_api.dia_object_asof(timestamptz),
    l1_api.dia_object_band_asof(timestamptz),
    l1_api.dia_source_asof(timestamptz),
    l1_api.cone_search_asof(double precision, double precision, double precision, timestamptz),
    l1_api.alerts_between(pg_snapshot, pg_snapshot, xid8, bigint, timestamptz),
    l1_api.alert_facts(bigint[], double precision, double precision),
    l1_api.alert_sources(bigint[], double precision, double precision),
    l1_api.alert_objects(bigint[], double precision, double precision),
    l1_api.alert_bands(bigint[], double precision, double precision),
    l1_api.alert_history(bigint[], double precision, double precision),
    l1_api.alert_citations(bigint[], double precision, double precision),
    l1_api.alert_images(bigint[], double precision, double precision),
    l1_api.find_alerts(double precision, double precision, double precision, double precision, double precision),
    l1_api.require_destination(text),
    l1_api.row_text(regclass, text, text[], boolean),
    l1_api.attempts_asof(bigint, timestamptz),
    l1_api.source_names(bigint, timestamptz),
    l1_api.object_names(bigint[]),
    l1_api.first_source(bigint),
    l1_api.night_ledger(bigint, timestamptz),
    l1_api.night_results(bigint, timestamptz, boolean),
    l1_api.night_rows(bigint, timestamptz, boolean),
    l1_api.night_hashes(date, timestamptz),
    l1_api.night_digest(date, timestamptz),
    l1_api.small_cell(double precision, double precision),
    l1_api.differs(double precision, double precision, double precision, double precision),
    l1_api.broken_object_versions(bigint, bigint),
    l1_api.broken_band_versions(bigint, bigint),
    l1_api.broken_source_versions(double precision, double precision),
    l1_api.broken_stamps(),
    l1_api.broken_objects(bigint, bigint),
    l1_api.broken_motions(bigint, bigint),
    l1_api.broken_bands(bigint, bigint),
    l1_api.broken_daily_bands(bigint, bigint),
    l1_api.broken_source_ids(),
    l1_api.broken_sightings(),
    l1_api.broken_source_visits(double precision, double precision),
    l1_api.broken_reasons(double precision, double precision),
    l1_api.broken_members(bigint, bigint),
    l1_api.broken_object_cells(bigint, bigint),
    l1_api.broken_former_places(bigint, bigint),
    l1_api.broken_ledger(),
    l1_api.broken_alert_sources(double precision, double precision),
    l1_api.broken_alert_versions(),
    l1_api.broken_retractions(double precision, double precision),
    l1_api.broken_alert_images(double precision, double precision),
    l1_api.broken_outbox(double precision, double precision),
    l1_api.broken_consumers(),
    l1_api.broken_deliveries(),
    l1_api.broken_redirects(),
    l1_api.broken_images(),
    l1_api.broken_corrections()
    to l1_read, l1_ingest, l1_publish, l1_admin;

grant insert, update, delete on l1.dia_source, l1.dia_object, l1.dia_object_band to l1_ingest, l1_admin;
grant insert, update on l1.visit_detector to l1_ingest, l1_admin;
grant insert, update, delete on l1.image, l1.precovery_task to l1_ingest, l1_admin;
grant insert on l1.alert, l1.alert_image, l1.cutout, l1.stamp, l1.update_record to l1_ingest, l1_admin;
grant insert on l1.correction to l1_admin;
grant usage on sequence l1.dia_object_seq, l1.dia_source_seq, l1.alert_seq to l1_ingest, l1_admin;
grant execute on function
    l1_api.ensure_partitions(double precision),
    l1_api.open_visit(bigint, text, double precision, real, double precision, double precision, real, date, smallint,
                      smallint, text, text),
    l1_api.hold_visit(bigint, boolean),
    l1_api.open_stage(),
    l1_api.ingest(bigint, text),
    l1_api.refuse_other_isolation(),
    l1_api.lap(jsonb, text),
    l1_api.refresh_statistics(name, bigint),
    l1_api.claim_stored(l1.visit, text),
    l1_api.claim_detectors(l1.visit, l1.survey, text),
    l1_api.check_stage(l1.visit),
    l1_api.lock_footprints(l1.visit, l1.survey),
    l1_api.parts_to_lock(l1.visit, double precision, double precision),
    l1_api.lock_margin(),
    l1_api.lock_cells(integer[]),
    l1_api.refuse_unlocked(bigint[]),
    l1_api.lock_sky(double precision, double precision, double precision),
    l1_api.recall_ids(l1.visit),
    l1_api.reopen_twins(l1.visit, l1.survey),
    l1_api.take_in_sources(l1.visit, l1.survey),
    l1_api.passes_quality_gate(boolean, boolean, boolean, boolean, boolean, boolean, boolean, boolean, real, real, real,
                               real),
    l1_api.associate(l1.visit, l1.survey),
    l1_api.list_movers(l1.visit, l1.survey, double precision),
    l1_api.find_pairs(l1.visit, l1.survey),
    l1_api.place_without_visit(l1.visit, l1.survey),
    l1_api.calibrate(l1.visit, l1.survey),
    l1_api.mutual_best(),
    l1_api.match_objects(l1.survey),
    l1_api.find_twins(l1.visit, l1.survey),
    l1_api.assign_objects(l1.survey),
    l1_api.found_objects(l1.visit, l1.survey, timestamptz),
    l1_api.list_touched(l1.survey),
    l1_api.list_bereaved(l1.visit, l1.survey),
    l1_api.clock(),
    l1_api.stamp_key(timestamptz),
    l1_api.take_stamp(),
    l1_api.withdraw_attempts(l1.visit, l1.survey, timestamptz),
    l1_api.insert_sources(l1.visit, timestamptz),
    l1_api.register_images(l1.visit, l1.survey),
    l1_api.forced_targets(text[], double precision, boolean),
    l1_api.list_forced(l1.survey),
    l1_api.force_objects(l1.visit, l1.survey, timestamptz),
    l1_api.queue_forced(l1.visit, l1.survey, text),
    l1_api.add_images(bigint, smallint, text[], text[], bytea[], bigint[], text[], text),
    l1_api.measure_positions(l1.survey, double precision),
    l1_api.measure_bands(text, l1.survey, double precision),
    l1_api.measure_shapes(l1.survey, double precision),
    l1_api.measure_objects(text, l1.survey),
    l1_api.measure_by_day(integer),
    l1_api.fit_motions(l1.survey, bigint[]),
    l1_api.measure_motions(integer),
    l1_api.prepare_nights(),
    l1_api.open_bands(timestamptz, boolean),
    l1_api.close_bands(text),
    l1_api.open_versions(text, l1.survey, double precision, timestamptz, boolean),
    l1_api.list_replaced(l1.visit, timestamptz),
    l1_api.retire_objects(text, bigint),
    l1_api.record_updates(bigint, timestamptz),
    l1_api.retract_alerts(l1.survey, timestamptz),
    l1_api.describe_images(timestamptz, double precision, double precision),
    l1_api.keep_given_cutouts(l1.visit, timestamptz),
    l1_api.issue_alerts(l1.visit, l1.survey, timestamptz),
    l1_api.close_ledger(l1.visit, timestamptz, jsonb)
    to l1_ingest, l1_admin;

grant execute on function
    l1_api.present_snapshot(),
    l1_api.require_consumer(text),
    l1_api.add_consumer(text, text),
    l1_api.drop_consumer(text),
    l1_api.next_alerts(text, integer, interval),
    l1_api.ack_alerts(text, bigint),
    l1_api.extend_lease(text, bigint, interval),
    l1_api.wanted_cutouts(bigint[], double precision, double precision),
    l1_api.keep_cutouts(bigint[], text[], text[], bytea[], integer[], text[], bigint[], text[]),
    l1_api.keep_packets(bigint[], text, text, bytea[], integer[]),
    l1_api.note_trouble(text, text),
    l1_api.open_deliveries(text, bigint[]),
    l1_api.due_deliveries(text, integer, interval),
    l1_api.record_deliveries(text, bigint[], text[], text[])
    to l1_publish, l1_admin;

grant execute on function
    l1_api.begin_correction(text),
    l1_api.lock_places(l1.survey, double precision[], double precision[]),
    l1_api.list_correcting(bigint[]),
    l1_api.list_detectors(l1.visit, smallint[]),
    l1_api.lock_correcting(l1.survey, bigint[], bigint),
    l1_api.free_twins(l1.survey),
    l1_api.refuse_conflicts(),
    l1_api.change_sources(timestamptz),
    l1_api.list_corrected(l1.survey),
    l1_api.reopen_objects(l1.survey, timestamptz),
    l1_api.apply_correction(l1.survey, text, text, text, jsonb, bigint, bigint),
    l1_api.withdraw_sources(bigint[], text, text),
    l1_api.withdraw_detectors(bigint, smallint[], text, text),
    l1_api.withdraw_visit(bigint, text, text),
    l1_api.move_sources(bigint[], bigint, text, text),
    l1_api.merge_objects(bigint[], bigint, text, text),
    l1_api.undo_correction(bigint, text, text),
    l1_api.change_survey(jsonb, text),
    l1_api.add_destination(text, text, text, jsonb, text, interval, text),
    l1_api.change_destination(text, jsonb),
    l1_api.remove_destination(text),
    l1_api.retry_deliveries(text)
    to l1_admin;

-- Working tables are for those who ingest.
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to l1_ingest, l1_admin', current_database());
end
$$;
