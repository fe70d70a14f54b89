-- The record of Runstone, SQLite. Explained for readers in docs/schema.md.
--
-- Points in time are microseconds since 1970-01-01T00:00:00Z; ids of runs, attempts and projects are the 16 bytes of a
-- UUID; hashes are 32 bytes. JSON is text.

CREATE TABLE project (
    id   INTEGER PRIMARY KEY,
    uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    name TEXT NOT NULL,
    runs INTEGER NOT NULL DEFAULT 0          -- the number of the newest run
) STRICT;

-- The last ids given out. Bumped in the transaction that uses them, so that the order of ids is the order of commits.
CREATE TABLE counter (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    node  INTEGER NOT NULL,
    event INTEGER NOT NULL
) STRICT;
INSERT INTO counter (id, node, event) VALUES (1, 0, 0);

-- Which content stores the runs of a project put their objects in.
CREATE TABLE content_store (
    project_id INTEGER NOT NULL REFERENCES project (id),
    marker     BLOB NOT NULL CHECK (length(marker) = 16),
    PRIMARY KEY (project_id, marker)
) STRICT, WITHOUT ROWID;

CREATE TABLE definition (
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE run (
    id              BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    project_id      INTEGER NOT NULL REFERENCES project (id),
    number          INTEGER NOT NULL,
    pipeline        TEXT NOT NULL,
    definition      BLOB NOT NULL REFERENCES definition (hash),
    definition_path TEXT NOT NULL,
    params          TEXT NOT NULL,
    request         TEXT NOT NULL,
    trigger         TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    reason          TEXT,
    created         INTEGER NOT NULL,
    ended           INTEGER,
    epoch           INTEGER NOT NULL,
    store_marker    BLOB NOT NULL CHECK (length(store_marker) = 16),
    cancel          TEXT CHECK (cancel IN ('graceful', 'now')),
    tool_version    TEXT NOT NULL,
    platform        TEXT NOT NULL,
    user_name       TEXT NOT NULL,
    host            TEXT NOT NULL,
    git_commit      TEXT,
    git_dirty       INTEGER CHECK (git_dirty IN (0, 1)),
    UNIQUE (project_id, number),
    CHECK ((state = 'running') = (ended IS NULL))
) STRICT;

CREATE TABLE task (
    run_id      BLOB NOT NULL REFERENCES run (id),
    idx         INTEGER NOT NULL CHECK (idx >= 0),
    step        TEXT NOT NULL,
    cell        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'assigned', 'retrying', 'succeeded', 'reused', 'failed', 'skipped', 'cancelled')),
    attempts    INTEGER NOT NULL,
    attempt_id  INTEGER REFERENCES attempt (id),
    fingerprint BLOB CHECK (length(fingerprint) = 32),
    reason      TEXT,
    PRIMARY KEY (run_id, idx),
    CHECK (attempt_id IS NOT NULL OR state NOT IN ('assigned', 'retrying', 'succeeded', 'reused'))
) STRICT, WITHOUT ROWID;

CREATE TABLE derivation (
    fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    canonical   BLOB NOT NULL
) STRICT;

-- A node of the lineage graph: something was executed, ingested, observed or reused.
CREATE TABLE attempt (
    id           INTEGER PRIMARY KEY,
    uuid         BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    project_id   INTEGER NOT NULL REFERENCES project (id),
    run_id       BLOB NOT NULL,
    task_idx     INTEGER NOT NULL,
    number       INTEGER NOT NULL CHECK (number >= 1),
    pipeline     TEXT NOT NULL,              -- pipeline, step and cell: copies of the run's and the task's, which never change
    step         TEXT NOT NULL,
    cell         TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('run', 'ingest', 'observe', 'reuse')),
    state        TEXT NOT NULL CHECK (state IN ('assigned', 'running', 'succeeded', 'failed')),
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 32),
    reusable     INTEGER NOT NULL CHECK (reusable IN (0, 1)),
    created      INTEGER NOT NULL,
    started      INTEGER,
    ended        INTEGER,
    cause        TEXT,
    exit_code    INTEGER,
    signal       INTEGER,
    message      TEXT,
    user_us      INTEGER,
    system_us    INTEGER,
    peak_rss     INTEGER,
    stdout_bytes INTEGER,
    stderr_bytes INTEGER,
    leftovers    INTEGER,
    tainted      TEXT,
    reused_from  INTEGER REFERENCES attempt (id),
    metadata     TEXT,
    UNIQUE (run_id, task_idx, number),
    FOREIGN KEY (run_id, task_idx) REFERENCES task (run_id, idx),
    CHECK ((state IN ('succeeded', 'failed')) = (ended IS NOT NULL AND started IS NOT NULL AND cause IS NOT NULL)),
    CHECK (reusable = 0 OR (state = 'succeeded' AND tainted IS NULL)),
    CHECK ((kind = 'reuse') = (reused_from IS NOT NULL)),
    CHECK (reused_from < id)
) STRICT;
CREATE INDEX attempt_reusable ON attempt (project_id, fingerprint) WHERE reusable = 1;
CREATE INDEX attempt_nearest ON attempt (project_id, pipeline, step, cell);

-- Live claims: at most one live attempt of a project holds a fingerprint.
CREATE TABLE flight (
    project_id  INTEGER NOT NULL REFERENCES project (id),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    attempt_id  INTEGER NOT NULL REFERENCES attempt (id),
    PRIMARY KEY (project_id, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES project (id),
    name       TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

-- The same bytes in the same dataset are the same version.
CREATE TABLE version (
    id         INTEGER PRIMARY KEY,
    dataset_id INTEGER NOT NULL REFERENCES dataset (id),
    number     INTEGER NOT NULL CHECK (number >= 1),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    kind       TEXT NOT NULL CHECK (kind IN ('file', 'dir')),
    size       INTEGER NOT NULL,
    files      INTEGER NOT NULL,
    rows       INTEGER,
    created    INTEGER NOT NULL,
    UNIQUE (dataset_id, hash),
    UNIQUE (dataset_id, number)
) STRICT;
CREATE INDEX version_hash ON version (hash);

-- A node of the lineage graph: one publication of a version by one attempt.
CREATE TABLE materialization (
    id         INTEGER PRIMARY KEY,
    version_id INTEGER NOT NULL REFERENCES version (id),
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    output     TEXT NOT NULL,
    subset     TEXT NOT NULL,
    file_name  TEXT NOT NULL,
    created    INTEGER NOT NULL,
    UNIQUE (attempt_id, output, subset),
    CHECK (attempt_id < id)
) STRICT;
CREATE INDEX materialization_version ON materialization (version_id);

-- An edge of the lineage graph. Ids grow along every edge, so there is no cycle.
CREATE TABLE consumed (
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    mat_id     INTEGER NOT NULL REFERENCES materialization (id),
    slot       TEXT NOT NULL,
    trust      TEXT NOT NULL CHECK (trust IN ('verified', 'declared', 'asserted')),
    PRIMARY KEY (attempt_id, mat_id, slot),
    CHECK (mat_id < attempt_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX consumed_down ON consumed (mat_id, attempt_id);

-- What @latest names. The only lineage rows that move.
CREATE TABLE head (
    dataset_id INTEGER NOT NULL REFERENCES dataset (id),
    subset     TEXT NOT NULL,
    mat_id     INTEGER NOT NULL REFERENCES materialization (id),
    rev        INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, subset)
) STRICT, WITHOUT ROWID;

-- Objects that the record names. `kept`: as proof only, no dataset names it.
CREATE TABLE blob (
    store_marker BLOB NOT NULL CHECK (length(store_marker) = 16),
    hash         BLOB NOT NULL CHECK (length(hash) = 32),
    kind         TEXT NOT NULL CHECK (kind IN ('file', 'dir')),
    size         INTEGER NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('content', 'kept')),
    state        TEXT NOT NULL CHECK (state IN ('stored', 'evicted')),
    created      INTEGER NOT NULL,
    changed      INTEGER NOT NULL,
    PRIMARY KEY (store_marker, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE metric (
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    name       TEXT NOT NULL,
    slice      TEXT NOT NULL,
    value      REAL NOT NULL,
    n          INTEGER,
    PRIMARY KEY (attempt_id, name, slice)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    run_id     BLOB NOT NULL REFERENCES run (id),
    id         INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    task_idx   INTEGER,
    attempt_id INTEGER,
    body       TEXT NOT NULL,
    PRIMARY KEY (run_id, id)
) STRICT, WITHOUT ROWID;

-- Lineage is never rewritten.
CREATE TRIGGER definition_is_final BEFORE UPDATE ON definition BEGIN SELECT RAISE(ABORT, 'definitions never change'); END;
CREATE TRIGGER definition_stays BEFORE DELETE ON definition BEGIN SELECT RAISE(ABORT, 'definitions stay'); END;
CREATE TRIGGER metric_is_final BEFORE UPDATE ON metric BEGIN SELECT RAISE(ABORT, 'metrics never change'); END;
CREATE TRIGGER metric_stays BEFORE DELETE ON metric BEGIN SELECT RAISE(ABORT, 'metrics stay'); END;
CREATE TRIGGER derivation_is_final BEFORE UPDATE ON derivation BEGIN SELECT RAISE(ABORT, 'derivations never change'); END;
CREATE TRIGGER derivation_stays BEFORE DELETE ON derivation BEGIN SELECT RAISE(ABORT, 'derivations stay'); END;
CREATE TRIGGER version_is_final BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, 'versions never change'); END;
CREATE TRIGGER version_stays BEFORE DELETE ON version BEGIN SELECT RAISE(ABORT, 'versions stay'); END;
CREATE TRIGGER materialization_is_final BEFORE UPDATE ON materialization BEGIN SELECT RAISE(ABORT, 'materializations never change'); END;
CREATE TRIGGER materialization_stays BEFORE DELETE ON materialization BEGIN SELECT RAISE(ABORT, 'materializations stay'); END;
CREATE TRIGGER consumed_is_final BEFORE UPDATE ON consumed BEGIN SELECT RAISE(ABORT, 'consumption never changes'); END;
CREATE TRIGGER consumed_stays BEFORE DELETE ON consumed BEGIN SELECT RAISE(ABORT, 'consumption stays'); END;
CREATE TRIGGER attempt_stays BEFORE DELETE ON attempt BEGIN SELECT RAISE(ABORT, 'attempts stay'); END;
CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events never change'); END;

CREATE TRIGGER epoch_grows BEFORE UPDATE OF epoch ON run WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'an epoch only grows'); END;

-- What was reported as ended never changes its state again.
CREATE TRIGGER attempt_is_final BEFORE UPDATE ON attempt WHEN OLD.state IN ('succeeded', 'failed')
BEGIN SELECT RAISE(ABORT, 'an attempt that ended never changes'); END;
CREATE TRIGGER task_is_final BEFORE UPDATE ON task WHEN OLD.state IN ('succeeded', 'reused')
BEGIN SELECT RAISE(ABORT, 'a task that succeeded never changes'); END;
