-- The service of Runstone: schedulers, schedules and their fires, the queue, backfills, pools. Explained in docs/schema.md.

ALTER TABLE project ADD COLUMN schedule_rev INTEGER NOT NULL DEFAULT 0;   -- the newest `rev` of a schedule

-- One start of a scheduler process. Its lease runs for `ttl_ms` from `seen` on.
CREATE TABLE scheduler (
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    project_id   INTEGER NOT NULL REFERENCES project (id),
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    pid_start    INTEGER NOT NULL,
    place        TEXT NOT NULL,
    version      TEXT NOT NULL,
    store_marker BLOB NOT NULL CHECK (length(store_marker) = 16),
    capacity     INTEGER NOT NULL CHECK (capacity >= 0),
    state        TEXT NOT NULL CHECK (state IN ('active', 'draining', 'gone')),
    started      INTEGER NOT NULL,
    seen         INTEGER NOT NULL,
    ttl_ms       INTEGER NOT NULL CHECK (ttl_ms >= 0)
) STRICT;
CREATE INDEX scheduler_started ON scheduler (project_id, started);
CREATE INDEX scheduler_alive ON scheduler (project_id) WHERE state <> 'gone';

-- Pipelines that schedulers know, each as its last good file declares it.
CREATE TABLE pipeline (
    project_id      INTEGER NOT NULL REFERENCES project (id),
    name            TEXT NOT NULL,
    definition      BLOB NOT NULL REFERENCES definition (hash),
    definition_path TEXT NOT NULL,
    active          INTEGER NOT NULL CHECK (active IN (0, 1)),
    error           TEXT,
    changed         INTEGER NOT NULL,
    PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedule (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES project (id),
    pipeline   TEXT NOT NULL,
    name       TEXT NOT NULL,
    timing     TEXT NOT NULL,
    spec       TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 1),
    active     INTEGER NOT NULL CHECK (active IN (0, 1)),
    paused     INTEGER NOT NULL CHECK (paused IN (0, 1)),
    activated  INTEGER NOT NULL,
    cursor     INTEGER NOT NULL,
    seen       TEXT NOT NULL,
    rev        INTEGER NOT NULL,
    UNIQUE (project_id, pipeline, name),
    CHECK (cursor >= activated)
) STRICT;
CREATE INDEX schedule_rev ON schedule (project_id, rev);

-- The decision about one fire time, or about a row of missed ones.
CREATE TABLE fire (
    schedule_id INTEGER NOT NULL REFERENCES schedule (id),
    generation  INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    count       INTEGER NOT NULL CHECK (count >= 1),
    decided     INTEGER NOT NULL,
    run_id      BLOB REFERENCES submission (run_id),
    reason      TEXT,
    PRIMARY KEY (schedule_id, generation, time),
    CHECK (until >= time),
    CHECK ((run_id IS NULL) = (reason IS NOT NULL)),
    CHECK (run_id IS NULL OR count = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX fire_time ON fire (time);

CREATE TABLE backfill (
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    project_id INTEGER NOT NULL REFERENCES project (id),
    pipeline   TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('active', 'paused', 'cancelled', 'done')),
    parallel   INTEGER NOT NULL CHECK (parallel >= 1),
    partitions TEXT NOT NULL,                -- a JSON array, in order
    next       INTEGER NOT NULL CHECK (next >= 0),   -- how many of them were submitted
    template   TEXT NOT NULL,                -- what each submission is like
    created    INTEGER NOT NULL,
    ended      INTEGER,
    user_name  TEXT NOT NULL,
    CHECK ((state IN ('cancelled', 'done')) = (ended IS NOT NULL))
) STRICT;
CREATE INDEX backfill_created ON backfill (project_id, created);
CREATE INDEX backfill_live ON backfill (project_id) WHERE state IN ('active', 'paused');

-- A run that was asked for. The row in `run` comes into being when a scheduler begins it.
CREATE TABLE submission (
    run_id          BLOB NOT NULL UNIQUE CHECK (length(run_id) = 16),
    project_id      INTEGER NOT NULL REFERENCES project (id),
    number          INTEGER NOT NULL,
    pipeline        TEXT NOT NULL,
    definition      BLOB NOT NULL REFERENCES definition (hash),
    definition_path TEXT NOT NULL,
    params          TEXT NOT NULL,
    request         TEXT NOT NULL,
    trigger         TEXT NOT NULL,
    partition       TEXT,
    priority        INTEGER NOT NULL,
    queue_group     TEXT,                    -- those of one group run one at a time, in the order of their numbers
    backfill_id     BLOB REFERENCES backfill (id),
    key             TEXT,
    state           TEXT NOT NULL CHECK (state IN ('queued', 'claimed', 'running', 'done', 'cancelled', 'failed')),
    scheduler_id    BLOB REFERENCES scheduler (id),
    claims          INTEGER NOT NULL CHECK (claims >= 0),
    created         INTEGER NOT NULL,
    ended           INTEGER,
    reason          TEXT,
    cancel          TEXT CHECK (cancel IN ('graceful', 'now')),   -- asked for before the run was on record
    store_marker    BLOB NOT NULL CHECK (length(store_marker) = 16),
    tool_version    TEXT NOT NULL,
    platform        TEXT NOT NULL,
    user_name       TEXT NOT NULL,
    host            TEXT NOT NULL,
    git_commit      TEXT,
    git_dirty       INTEGER CHECK (git_dirty IN (0, 1)),
    UNIQUE (project_id, number),
    UNIQUE (project_id, key),
    UNIQUE (backfill_id, partition),
    CHECK ((state IN ('done', 'cancelled', 'failed')) = (ended IS NOT NULL)),
    CHECK (state <> 'queued' OR (scheduler_id IS NULL AND cancel IS NULL)),
    CHECK (state <> 'claimed' OR scheduler_id IS NOT NULL)
) STRICT;
CREATE INDEX submission_queued ON submission (project_id, pipeline, priority DESC, number) WHERE state = 'queued';
CREATE INDEX submission_taken ON submission (project_id, scheduler_id) WHERE state IN ('claimed', 'running');
CREATE INDEX submission_group ON submission (project_id, queue_group, number)
    WHERE queue_group IS NOT NULL AND state IN ('queued', 'claimed', 'running');

-- Slots that tasks of all runs of a project share. Those in use are the sum over the live attempts that hold some.
CREATE TABLE pool (
    project_id INTEGER NOT NULL REFERENCES project (id),
    name       TEXT NOT NULL,
    slots      INTEGER NOT NULL CHECK (slots >= 0),
    declared   INTEGER NOT NULL CHECK (declared IN (0, 1)),   -- 0: goes as soon as nobody uses it
    PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;

ALTER TABLE run ADD COLUMN partition TEXT;
ALTER TABLE run ADD COLUMN written INTEGER;            -- when one of its tasks last asked for slots of a pool
ALTER TABLE attempt ADD COLUMN pool TEXT;              -- whose slots it holds while it lives
ALTER TABLE attempt ADD COLUMN slots INTEGER;
ALTER TABLE attempt ADD COLUMN pool_priority INTEGER;
ALTER TABLE task ADD COLUMN pool TEXT;                 -- in whose line it stands
ALTER TABLE task ADD COLUMN pool_slots INTEGER;
ALTER TABLE task ADD COLUMN pool_priority INTEGER;
ALTER TABLE task ADD COLUMN pool_since INTEGER;
CREATE INDEX attempt_holds ON attempt (project_id, pool) WHERE pool IS NOT NULL AND state IN ('assigned', 'running');
CREATE INDEX task_in_line ON task (pool) WHERE pool IS NOT NULL;

-- What was decided stays decided.
CREATE TRIGGER fire_is_final BEFORE UPDATE ON fire BEGIN SELECT RAISE(ABORT, 'fires never change'); END;
CREATE TRIGGER fire_stays BEFORE DELETE ON fire BEGIN SELECT RAISE(ABORT, 'fires stay'); END;
CREATE TRIGGER scheduler_is_gone BEFORE UPDATE ON scheduler WHEN OLD.state = 'gone'
BEGIN SELECT RAISE(ABORT, 'a scheduler that is gone stays gone'); END;
CREATE TRIGGER schedule_goes_on BEFORE UPDATE ON schedule
WHEN NEW.generation < OLD.generation OR NEW.cursor < OLD.cursor OR NEW.rev < OLD.rev
BEGIN SELECT RAISE(ABORT, 'the cursor, the generation and the rev of a schedule only grow'); END;
CREATE TRIGGER submission_is_final BEFORE UPDATE ON submission WHEN OLD.state IN ('done', 'cancelled', 'failed')
BEGIN SELECT RAISE(ABORT, 'a submission that is over never changes'); END;
CREATE TRIGGER submission_stays BEFORE DELETE ON submission BEGIN SELECT RAISE(ABORT, 'submissions stay'); END;
CREATE TRIGGER claims_grow BEFORE UPDATE OF claims ON submission WHEN NEW.claims < OLD.claims
BEGIN SELECT RAISE(ABORT, 'claims only grow'); END;
CREATE TRIGGER backfill_is_final BEFORE UPDATE ON backfill WHEN OLD.state IN ('cancelled', 'done')
BEGIN SELECT RAISE(ABORT, 'a backfill that is over never changes'); END;
