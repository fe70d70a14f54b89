-- Lineage that answers and proves, SQLite. Explained for readers in docs/schema.md.

-- Attempts that ended and are not in the log yet. The database itself fills it, whatever wrote the end, so that none is
-- forgotten.
CREATE TABLE unlogged (
    project_id INTEGER NOT NULL REFERENCES project (id),
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    PRIMARY KEY (project_id, attempt_id)
) STRICT, WITHOUT ROWID;
INSERT INTO unlogged (project_id, attempt_id)
    SELECT project_id, id FROM attempt WHERE state IN ('succeeded', 'failed');
CREATE TRIGGER attempt_ends AFTER UPDATE OF state ON attempt WHEN NEW.state IN ('succeeded', 'failed')
BEGIN INSERT INTO unlogged (project_id, attempt_id) VALUES (NEW.project_id, NEW.id); END;
CREATE TRIGGER attempt_begins_ended AFTER INSERT ON attempt WHEN NEW.state IN ('succeeded', 'failed')
BEGIN INSERT INTO unlogged (project_id, attempt_id) VALUES (NEW.project_id, NEW.id); END;

-- The Merkle log: leaf `idx` is the statement of an attempt. `record` is its hash, and then that of every complete
-- subtree that ends with it.
CREATE TABLE log_leaf (
    project_id INTEGER NOT NULL REFERENCES project (id),
    idx        INTEGER NOT NULL CHECK (idx >= 0),
    attempt_id INTEGER NOT NULL UNIQUE REFERENCES attempt (id),
    record     BLOB NOT NULL CHECK (length(record) > 0 AND length(record) % 32 = 0),
    PRIMARY KEY (project_id, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    project_id INTEGER NOT NULL REFERENCES project (id),
    size       INTEGER NOT NULL CHECK (size > 0),
    root       BLOB NOT NULL CHECK (length(root) = 32),
    note       TEXT NOT NULL,                -- the signed text
    created    INTEGER NOT NULL,
    PRIMARY KEY (project_id, size)
) STRICT, WITHOUT ROWID;

-- A movable name of versions of one dataset. It never changes; its moves follow each other.
CREATE TABLE tag (
    id         INTEGER PRIMARY KEY,
    dataset_id INTEGER NOT NULL REFERENCES dataset (id),
    name       TEXT NOT NULL,
    UNIQUE (dataset_id, name)
) STRICT;

CREATE TABLE tag_move (
    tag_id    INTEGER NOT NULL REFERENCES tag (id),
    rev       INTEGER NOT NULL CHECK (rev >= 1),
    created   INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    host      TEXT NOT NULL,
    note      TEXT,
    PRIMARY KEY (tag_id, rev)
) STRICT, WITHOUT ROWID;

-- Where a move leads; nowhere means that the tag was taken away.
CREATE TABLE tag_target (
    tag_id INTEGER NOT NULL,
    rev    INTEGER NOT NULL,
    mat_id INTEGER NOT NULL REFERENCES materialization (id),
    PRIMARY KEY (tag_id, rev, mat_id),
    FOREIGN KEY (tag_id, rev) REFERENCES tag_move (tag_id, rev)
) STRICT, WITHOUT ROWID;

-- What is known of a version that is a table: schema, rows, statistics.
CREATE TABLE profile (
    version_id INTEGER PRIMARY KEY REFERENCES version (id),
    body       TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT;

-- What came of executing an attempt's derivation again.
CREATE TABLE reproduction (
    id         INTEGER PRIMARY KEY,
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    verdict    TEXT NOT NULL,
    body       TEXT NOT NULL,
    created    INTEGER NOT NULL,
    user_name  TEXT NOT NULL,
    host       TEXT NOT NULL
) STRICT;
CREATE INDEX reproduction_attempt ON reproduction (attempt_id, id);

CREATE TRIGGER log_leaf_is_final BEFORE UPDATE ON log_leaf BEGIN SELECT RAISE(ABORT, 'the log never changes'); END;
CREATE TRIGGER log_leaf_stays BEFORE DELETE ON log_leaf BEGIN SELECT RAISE(ABORT, 'the log stays'); END;
CREATE TRIGGER checkpoint_is_final BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints never change'); END;
CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints stay'); END;
CREATE TRIGGER tag_is_final BEFORE UPDATE ON tag BEGIN SELECT RAISE(ABORT, 'tags never change, they move'); END;
CREATE TRIGGER tag_stays BEFORE DELETE ON tag BEGIN SELECT RAISE(ABORT, 'tags stay'); END;
CREATE TRIGGER tag_move_is_final BEFORE UPDATE ON tag_move BEGIN SELECT RAISE(ABORT, 'moves of tags never change'); END;
CREATE TRIGGER tag_move_stays BEFORE DELETE ON tag_move BEGIN SELECT RAISE(ABORT, 'moves of tags stay'); END;
CREATE TRIGGER tag_target_is_final BEFORE UPDATE ON tag_target BEGIN SELECT RAISE(ABORT, 'moves of tags never change'); END;
CREATE TRIGGER tag_target_stays BEFORE DELETE ON tag_target BEGIN SELECT RAISE(ABORT, 'moves of tags stay'); END;
CREATE TRIGGER reproduction_is_final BEFORE UPDATE ON reproduction BEGIN SELECT RAISE(ABORT, 'verdicts never change'); END;
CREATE TRIGGER reproduction_stays BEFORE DELETE ON reproduction BEGIN SELECT RAISE(ABORT, 'verdicts stay'); END;
