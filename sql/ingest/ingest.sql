create function l1_api.ingest(p_visit bigint, p_mode text default 'new')
returns table (
    detector         smallint,
    attempt          smallint,
    status           text,
    n_sources        integer,
    n_associated     integer,
    n_new_objects    integer,
    n_without_object integer,
    n_alerts         integer,
    n_forced         integer,
    n_forced_queued  integer,
    time_processed   timestamptz,
    timings          jsonb
)
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set work_mem = '64MB'
set seq_page_cost = 10
as $$
-- Function: l1_api.ingest(2)
--
--   The night's one transaction: takes the staged detectors of a visit in, all or nothing.  Before it, the caller opens
--   the visit (open_visit), makes its partitions (ensure_partitions) and the working tables (open_stage), and copies into
--   pg_temp.stage_detector, pg_temp.stage_source and the other stages; after it, the caller commits.
--
-- Parameters:
--   p_visit  - the visit
--   p_mode   - new, replace, release or supplement; see claim_detectors
-- Returns:
--   one row per staged detector: what became of it, as the ledger has it; of one that was added to or revised, by how
--   much its counts changed
-- Settings:
--   seq_page_cost keeps the planner from reading tables of some 10^5 rows whole for a visit's few thousand: faster by a
--   hair there, and cached in the session until the table has grown tenfold
-- Calls:   the steps below, in the order of the mission; reads and writes are theirs
-- Locks:   the visit, ledger rows, sky cells; each sorted, and nothing after them that can wait
--
-- work_mem holds the sorts of a peak visit of 40 000 sources; PostgreSQL's default would send them to disk.
declare
    v_visit     l1.visit;
    v_survey    l1.survey;
    v_withdraws boolean;
    v_stamp     timestamptz;
    v_timings   jsonb;
begin
    v_timings := l1_api.lap(null, null);
    perform l1_api.refuse_other_isolation();
    if p_mode is null or p_mode not in ('new', 'replace', 'release', 'supplement') then
        raise exception 'ingest has no mode %', coalesce(p_mode, 'NULL')
            using errcode = 'L1I07',
                  hint = 'Modes are new, replace, release and supplement.';
    end if;
    if to_regclass('pg_temp.claim') is null then
        raise exception 'this session has no working tables'
            using errcode = 'L1I10',
                  hint = 'Call l1_api.open_stage first.';
    end if;
    if exists (select from pg_temp.claim) or exists (select from pg_temp.touched)
       or exists (select from pg_temp.correcting)
    then
        raise exception 'this transaction has written already'
            using errcode = 'L1I09',
                  hint = 'Commit, and copy into the working tables anew.';
    end if;
    select * into v_survey from l1_api.current_survey();
    v_visit := l1_api.hold_visit(p_visit, p_mode <> 'new');
    if v_visit.visit is null then
        raise exception 'visit % is not open', p_visit
            using errcode = 'L1I08',
                  hint = 'Call l1_api.open_visit first.';
    end if;

    if exists (select from pg_temp.stage_detector d where d.band <> v_visit.band) then
        raise exception 'visit % is of band %, not of that of the staged data', p_visit, v_visit.band
            using errcode = 'L1I04',
                  hint = 'Another session has corrected it; open it anew.';
    end if;

    perform l1_api.check_stage(v_visit);
    v_timings := l1_api.lap(v_timings, 'check');

    -- The ledger: what is each detector to become?
    perform l1_api.claim_detectors(v_visit, v_survey, p_mode);
    v_withdraws := exists (select from pg_temp.claim c where c.former_attempt is not null);
    v_timings := l1_api.lap(v_timings, 'claim');

    if exists (select from pg_temp.claim c where c.status <> 'unchanged') then
        perform l1_api.lock_footprints(v_visit, v_survey);
        v_timings := l1_api.lap(v_timings, 'lock');

        if p_mode = 'release' then
            perform l1_api.recall_ids(v_visit);
        end if;
        if v_withdraws then
            perform l1_api.reopen_twins(v_visit, v_survey);
        end if;
        perform l1_api.take_in_sources(v_visit, v_survey);
        perform l1_api.associate(v_visit, v_survey);
        v_timings := l1_api.lap(v_timings, 'associate');

        perform l1_api.list_touched(v_survey);
        if v_withdraws then
            perform l1_api.list_bereaved(v_visit, v_survey);
            perform l1_api.refuse_unlocked(array(select t.dia_object_id from pg_temp.touched t));
        end if;
        perform l1_api.list_forced(v_survey);
        v_stamp := l1_api.take_stamp();
        v_timings := l1_api.lap(v_timings, 'stamp');

        if v_withdraws then
            perform l1_api.withdraw_attempts(v_visit, v_survey, v_stamp);
        end if;
        perform l1_api.insert_sources(v_visit, v_stamp);
        v_timings := l1_api.lap(v_timings, 'insert');

        perform l1_api.found_objects(v_visit, v_survey, v_stamp);
        v_timings := l1_api.lap(v_timings, 'found');

        perform l1_api.register_images(v_visit, v_survey);
        perform l1_api.force_objects(v_visit, v_survey, v_stamp);
        perform l1_api.queue_forced(v_visit, v_survey, 'new_object');
        v_timings := l1_api.lap(v_timings, 'force');

        perform l1_api.measure_objects(v_visit.band, v_survey);
        v_timings := l1_api.lap(v_timings, 'measure');

        perform l1_api.open_versions(v_visit.band, v_survey, v_visit.midpoint_mjd_tai, v_stamp, v_withdraws);
        if v_withdraws then
            perform l1_api.list_replaced(v_visit, v_stamp);
            perform l1_api.retire_objects('orphaned', null);
            perform l1_api.record_updates(null, v_stamp);
        end if;
        v_timings := l1_api.lap(v_timings, 'version');

        perform l1_api.issue_alerts(v_visit, v_survey, v_stamp);
        v_timings := l1_api.lap(v_timings, 'alert');

        perform l1_api.close_ledger(v_visit, v_stamp, v_timings);
        v_timings := l1_api.lap(v_timings, 'ledger');
    end if;

    return query
    select c.detector,
           c.attempt,
           c.status,
           n.n_sources,
           n.n_associated,
           n.n_new_objects,
           n.n_without_object,
           n.n_alerts,
           v.n_forced,
           v.n_forced_queued,
           v.time_processed,
           v_timings - 'lap'
      from pg_temp.claim c
      join pg_temp.stage_detector d
        on d.detector = c.detector
      join l1.visit_detector v
        on v.visit = p_visit
       and v.detector = c.detector
       and v.attempt = c.attempt
     cross join lateral (
        select c.n_sources, c.n_associated, c.n_new_objects, c.n_without_object, c.n_alerts
         where c.status in ('supplemented', 'revised')
        union all
        select v.n_sources, v.n_associated, v.n_new_objects, v.n_without_object, v.n_alerts
         where c.status not in ('supplemented', 'revised')
     ) as n
     order by c.detector;
end
$$;
comment on function l1_api.ingest(bigint, text) is
    'Takes the staged detectors of a visit in, all or nothing: the night''s one transaction';
