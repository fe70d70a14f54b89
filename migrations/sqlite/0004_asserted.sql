-- Lineage that others assert, SQLite. Explained for readers in docs/schema.md.

CREATE TABLE asserted_run (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES project (id),
    uuid       BLOB NOT NULL CHECK (length(uuid) = 16),
    given      TEXT,                         -- what it was called where that is no UUID
    kind       TEXT NOT NULL CHECK (kind IN ('run', 'job')),
    UNIQUE (project_id, uuid)
) STRICT;

-- A name. Where it leads is all that changes.
CREATE TABLE asserted_dataset (
    id           INTEGER PRIMARY KEY,
    project_id   INTEGER NOT NULL REFERENCES project (id),
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    canonical_id INTEGER NOT NULL REFERENCES asserted_dataset (id),
    UNIQUE (project_id, namespace, name)
) STRICT;
CREATE INDEX asserted_dataset_canonical ON asserted_dataset (canonical_id);

CREATE TABLE asserted_event (
    id            INTEGER PRIMARY KEY,
    project_id    INTEGER NOT NULL REFERENCES project (id),
    dedup         BLOB NOT NULL CHECK (length(dedup) = 32),
    received      INTEGER NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('run', 'job', 'dataset')),
    type          TEXT CHECK (type IN ('START', 'RUNNING', 'COMPLETE', 'ABORT', 'FAIL', 'OTHER')),
    time          INTEGER NOT NULL,
    run_id        INTEGER REFERENCES asserted_run (id),
    job_namespace TEXT,
    job_name      TEXT,
    size          INTEGER NOT NULL,
    body          TEXT,                      -- as it was received
    object        BLOB CHECK (length(object) = 32),
    UNIQUE (project_id, dedup),
    CHECK ((body IS NULL) <> (object IS NULL)),
    CHECK ((kind = 'run') = (type IS NOT NULL)),
    CHECK ((kind = 'dataset') = (run_id IS NULL)),
    CHECK ((run_id IS NULL) = (job_namespace IS NULL) AND (run_id IS NULL) = (job_name IS NULL))
) STRICT;
CREATE INDEX asserted_event_run ON asserted_event (run_id, time, dedup);

-- What all events say together, each thing once.
CREATE TABLE asserted_edge (
    run_id     INTEGER NOT NULL REFERENCES asserted_run (id),
    side       TEXT NOT NULL CHECK (side IN ('input', 'output')),
    dataset_id INTEGER NOT NULL REFERENCES asserted_dataset (id),
    version    TEXT CHECK (version <> ''),
    hash       BLOB CHECK (length(hash) = 32),
    CHECK (hash IS NULL OR version IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX asserted_edge_once ON asserted_edge (run_id, side, dataset_id, coalesce(version, ''));
CREATE INDEX asserted_edge_point ON asserted_edge (dataset_id, side, version);
CREATE INDEX asserted_edge_content ON asserted_edge (hash, side) WHERE hash IS NOT NULL;

-- Of which columns the columns of an output were made: what each event said, the newest counts.
CREATE TABLE asserted_columns (
    run_id     INTEGER NOT NULL REFERENCES asserted_run (id),
    dataset_id INTEGER NOT NULL REFERENCES asserted_dataset (id),
    time       INTEGER NOT NULL,
    dedup      BLOB NOT NULL CHECK (length(dedup) = 32),
    body       TEXT NOT NULL,
    PRIMARY KEY (run_id, dataset_id, time, dedup)
) STRICT;

-- Further names of a dataset: what each event said, the newest counts. Its own name alone means that it has no others.
CREATE TABLE asserted_symlink (
    dataset_id INTEGER NOT NULL REFERENCES asserted_dataset (id),
    time       INTEGER NOT NULL,
    dedup      BLOB NOT NULL CHECK (length(dedup) = 32),
    alias_id   INTEGER NOT NULL REFERENCES asserted_dataset (id),
    PRIMARY KEY (dataset_id, time, dedup, alias_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX asserted_symlink_alias ON asserted_symlink (alias_id, dataset_id);

CREATE TRIGGER asserted_run_is_final BEFORE UPDATE ON asserted_run BEGIN SELECT RAISE(ABORT, 'asserted runs never change'); END;
CREATE TRIGGER asserted_run_stays BEFORE DELETE ON asserted_run BEGIN SELECT RAISE(ABORT, 'asserted runs stay'); END;
CREATE TRIGGER asserted_dataset_is_final BEFORE UPDATE OF id, project_id, namespace, name ON asserted_dataset
BEGIN SELECT RAISE(ABORT, 'names of asserted datasets never change'); END;
CREATE TRIGGER asserted_dataset_stays BEFORE DELETE ON asserted_dataset BEGIN SELECT RAISE(ABORT, 'asserted datasets stay'); END;
CREATE TRIGGER asserted_event_is_final BEFORE UPDATE ON asserted_event BEGIN SELECT RAISE(ABORT, 'asserted events never change'); END;
CREATE TRIGGER asserted_event_stays BEFORE DELETE ON asserted_event BEGIN SELECT RAISE(ABORT, 'asserted events stay'); END;
CREATE TRIGGER asserted_edge_is_final BEFORE UPDATE ON asserted_edge BEGIN SELECT RAISE(ABORT, 'asserted edges never change'); END;
CREATE TRIGGER asserted_edge_stays BEFORE DELETE ON asserted_edge BEGIN SELECT RAISE(ABORT, 'asserted edges stay'); END;
CREATE TRIGGER asserted_columns_is_final BEFORE UPDATE ON asserted_columns BEGIN SELECT RAISE(ABORT, 'asserted columns never change'); END;
CREATE TRIGGER asserted_columns_stays BEFORE DELETE ON asserted_columns BEGIN SELECT RAISE(ABORT, 'asserted columns stay'); END;
CREATE TRIGGER asserted_symlink_is_final BEFORE UPDATE ON asserted_symlink BEGIN SELECT RAISE(ABORT, 'asserted names never change'); END;
CREATE TRIGGER asserted_symlink_stays BEFORE DELETE ON asserted_symlink BEGIN SELECT RAISE(ABORT, 'asserted names stay'); END;
