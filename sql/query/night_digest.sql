create function l1_api.night_digest(p_day date, p_asof timestamptz default null)
returns table (part text, n bigint, sha256 bytea)
language sql
stable
as $$
    -- Function: l1_api.night_digest(2)
    --
    --   A hash of a night: of what it was given, of the software and the rules that took it in, and of what came out.  Two
    --   databases in which the same visits were committed in the same order have the same digest, whatever ids they gave,
    --   whatever their clocks said, and in whatever order rows lie.
    --
    -- Parameters:
    --   p_day   - day_obs
    --   p_asof  - database time: the night as it was known then; by default as it is known now
    -- Returns:
    --   a row for each part, with the number of rows that were hashed
    --     inputs        - what l1.visit says of the visits, and for each live ledger row the hash of its content
    --     software      - the stored code of l1db, and for each live ledger row the software of its sources
    --     rules         - for each live ledger row the rules of the survey under which it was ingested, by value
    --     ledger        - every attempt: whether it was withdrawn and why, and how its detector was calibrated
    --     sources       - the detections, with all that was given or measured
    --     associations  - of each detection its object, or why it has none
    --     forced        - the forced rows
    --     objects       - the versions of DiaObjects that the visits opened, in order, and what they retired
    --     bands         - likewise the light-curve statistics
    --     alerts        - the alerts issued: kind, source and object
    --   and two for several: results, from ledger to alerts; total, all
    -- Reads:  see night_hashes
    --
    -- What counts:
    --   Names.  A source is named by visit, detector and its rank there (source_names), an object by its first source
    --   (object_names).  Ids that l1db drew, times of processing and versions of rules are not hashed; ids that the survey
    --   gave are.
    --   Columns.  Those of the catalogue, without the ones that are NULL: a column that a later revision adds changes no
    --   digest until it has a value (a new rule of the survey mostly has).
    --   Later nights change nothing: they open other versions.  Forced rows of precovery are left out, since they come
    --   with the objects of later nights.
    --   Corrections and replacements of the night's own data, whenever they are made, count with their versions and
    --   alerts; p_asof, up to safe_asof(), leaves out those made since.  An upgrade of l1db changes the part software: it
    --   is the code that would take the night in again, and the ledger does not say which code did.
    --   A change of the survey's software alone shows in software and in inputs, as the hash of the content covers it.
    select h.part, h.n, h.sha256
      from l1_api.night_hashes(p_day, p_asof) as h
     where h.is_whole
$$;
comment on function l1_api.night_digest(date, timestamptz) is
    'A hash of a night: inputs, software, rules and results, without ids and times that l1db made';
