-- The record of runs and their lineage, in PostgreSQL's own types so that people can query it.
--
-- Everything lives in the schema `runstone`. docs/postgres.md explains the tables; the rules that matter most:
--   * state rows (run, task, attempt) are the truth, events their history, written in one transaction;
--   * the lineage graph is bipartite: attempts and materializations take their ids from one sequence without cache, so that
--     every edge runs from a smaller to a larger id and no cycle can be stored;
--   * whoever writes a run first updates its run row under its epoch, and thereby holds its lock;
--   * names sort by bytes (collation "C"), as they do on every other database.

create sequence node_id as bigint minvalue 1 cache 1;

-- Bookkeeping ---------------------------------------------------------------------------------------------------------

create table project (
    id      bigint generated always as identity primary key,
    uuid    uuid   not null unique,
    name    text   not null,
    -- the last run number given out: its row lock orders the births of runs
    runs    bigint not null default 0
);

-- Which content stores the runs of a project put their objects in.
create table content_store (
    project_id bigint not null references project,
    marker     uuid   not null,
    primary key (project_id, marker)
);

create table definition (
    hash    bytea primary key check (octet_length(hash) = 32),
    body    text  not null
);

create table run (
    id              uuid        primary key,
    project_id      bigint      not null references project,
    number          bigint      not null check (number > 0),
    pipeline        text        collate "C" not null,
    definition      bytea       not null references definition,
    definition_path text        not null,
    params          jsonb       not null,
    request         jsonb       not null,
    trigger         text        not null,
    state           text        not null check (state in ('running', 'succeeded', 'failed', 'cancelled')),
    reason          text,
    created         timestamptz not null,
    ended           timestamptz,
    -- grows with each owner; every write of an owner checks it
    epoch           bigint      not null check (epoch > 0),
    -- token of the last batch applied: how a commit whose answer was lost is recognised
    batch           uuid        not null,
    -- which content store its objects are in
    store_marker    uuid        not null,
    tool_version    text        not null,
    platform        text        not null,
    user_name       text        not null,
    host            text        not null,
    git_commit      text,
    git_dirty       boolean,
    cancel          text        check (cancel in ('graceful', 'now')),
    unique (project_id, number),
    check ((state = 'running') = (ended is null))
) with (fillfactor = 70);
create index run_by_pipeline on run (project_id, pipeline, number);

create table task (
    run_id      uuid    not null references run,
    idx         integer not null check (idx >= 0),
    step        text    collate "C" not null,
    cell        text    collate "C" not null,
    state       text    not null check (state in
        ('waiting', 'assigned', 'retrying', 'succeeded', 'reused', 'failed', 'skipped', 'cancelled')),
    attempts    integer not null default 0 check (attempts >= 0),
    attempt_id  bigint,
    fingerprint bytea,
    reason      text,
    primary key (run_id, idx)
) with (fillfactor = 70);

-- Attempts ------------------------------------------------------------------------------------------------------------

-- The canonical bytes behind a fingerprint, kept so that it can be checked and compared field by field.
create table derivation (
    fingerprint bytea primary key check (octet_length(fingerprint) = 32),
    canonical   bytea not null
);

create table attempt (
    id           bigint      primary key,
    uuid         uuid        not null unique,
    project_id   bigint      not null,
    run_id       uuid        not null,
    task_idx     integer     not null,
    number       integer     not null check (number > 0),
    -- copies of the run's and the task's, which never change: the newest attempt of a cell is one look into an index
    pipeline     text        collate "C" not null,
    step         text        collate "C" not null,
    cell         text        collate "C" not null,
    kind         text        not null check (kind in ('run', 'ingest', 'observe', 'reuse')),
    state        text        not null check (state in ('assigned', 'running', 'succeeded', 'failed')),
    -- the derivation behind it is on record, but for kind `reuse`, whose caller may ask by an older recipe
    fingerprint  bytea       not null check (octet_length(fingerprint) = 32),
    reusable     boolean     not null default false,
    created      timestamptz not null,
    started      timestamptz,
    ended        timestamptz,
    cause        text,
    exit_code    integer,
    signal       integer,
    message      text,
    user_us      bigint,
    system_us    bigint,
    peak_rss     bigint,
    stdout_bytes bigint,
    stderr_bytes bigint,
    leftovers    bigint,
    tainted      text,
    reused_from  bigint      references attempt check (reused_from < id),
    metadata     jsonb,
    unique (run_id, task_idx, number),
    foreign key (run_id, task_idx) references task,
    check ((state in ('succeeded', 'failed')) = (ended is not null and started is not null and cause is not null)),
    check (not reusable or (state = 'succeeded' and tainted is null)),
    check ((kind = 'reuse') = (reused_from is not null))
) with (fillfactor = 80);
create index attempt_reusable on attempt (project_id, fingerprint, id) where reusable;
create index attempt_by_cell on attempt (project_id, pipeline, step, cell, id);

-- Live claims: at most one attempt of a project at a time for a fingerprint.
create table flight (
    project_id  bigint not null,
    fingerprint bytea  not null,
    attempt_id  bigint not null,
    primary key (project_id, fingerprint)
) with (fillfactor = 70);

create table metric (
    attempt_id bigint           not null references attempt,
    name       text             collate "C" not null,
    slice      text             collate "C" not null,
    value      double precision not null,
    n          bigint,
    primary key (attempt_id, name, slice)
);

-- Lineage -------------------------------------------------------------------------------------------------------------

create table dataset (
    id         bigint generated always as identity primary key,
    project_id bigint not null references project,
    name       text   collate "C" not null,
    -- the last version number given out: its row lock orders versions and heads
    versions   bigint not null default 0,
    unique (project_id, name)
) with (fillfactor = 70);

-- The same bytes in the same dataset are the same version. Its id is that of its first materialization.
create table version (
    id         bigint      primary key,
    dataset_id bigint      not null references dataset,
    number     bigint      not null check (number > 0),
    hash       bytea       not null check (octet_length(hash) = 32),
    kind       text        not null check (kind in ('file', 'dir')),
    size       bigint      not null check (size >= 0),
    files      bigint      not null check (files >= 0),
    rows       bigint      check (rows >= 0),
    created    timestamptz not null,
    unique (dataset_id, hash),
    unique (dataset_id, number)
);
create index version_by_hash on version (hash);

create table materialization (
    id         bigint      not null,
    version_id bigint      not null references version,
    attempt_id bigint      not null references attempt,
    output     text        collate "C" not null,
    subset     text        collate "C" not null,
    file_name  text        not null,
    created    timestamptz not null,
    -- both carry what a walk through the graph needs, so that it never touches the table
    primary key (id) include (attempt_id),
    unique (attempt_id, output, subset) include (id),
    check (attempt_id < id)
);
create index materialization_by_version on materialization (version_id, id);

create table consumed (
    attempt_id bigint not null references attempt,
    mat_id     bigint not null references materialization,
    slot       text   collate "C" not null,
    trust      text   not null check (trust in ('verified', 'declared', 'asserted')),
    primary key (attempt_id, mat_id, slot),
    check (mat_id < attempt_id)
);
create index consumed_forward on consumed (mat_id, attempt_id);

-- What `@latest` names: the only rows of lineage that move.
create table head (
    dataset_id bigint not null references dataset,
    subset     text   collate "C" not null,
    mat_id     bigint not null references materialization,
    rev        bigint not null default 1,
    primary key (dataset_id, subset)
) with (fillfactor = 70);

-- Objects of a content store that the record names.
create table blob (
    store_marker uuid        not null,
    hash         bytea       not null check (octet_length(hash) = 32),
    kind         text        not null check (kind in ('file', 'dir')),
    size         bigint      not null check (size >= 0),
    role         text        not null check (role in ('content', 'kept')),
    state        text        not null default 'stored' check (state in ('stored', 'evicted')),
    created      timestamptz not null,
    -- when the state last changed
    changed      timestamptz,
    primary key (store_marker, hash)
);

-- History -------------------------------------------------------------------------------------------------------------

create table event (
    id         bigint generated always as identity primary key,
    -- written under the lock of the run: a foreign key would look for it three times a task
    run_id     uuid        not null,
    at         timestamptz not null,
    kind       text        not null,
    task_idx   integer,
    attempt_id bigint,
    body       jsonb       not null
);
create index event_by_run on event (run_id, id);

-- Guards: no statement of any program changes what is carved in stone -------------------------------------------------

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% of %.%: this part of the record never changes', tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end $$;

create trigger immutable before update or delete or truncate on definition
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on derivation
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on version
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on materialization
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on consumed
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on metric
    for each statement execute function refuse_change();

-- An attempt that ended stays as it ended, a task that succeeded stays so, an epoch only grows.
create trigger terminal before update on attempt for each row
    when (old.state in ('succeeded', 'failed')) execute function refuse_change();
create trigger terminal before update on task for each row
    when (old.state in ('succeeded', 'reused') and new.state is distinct from old.state) execute function refuse_change();
create trigger epoch before update on run for each row
    when (new.epoch < old.epoch) execute function refuse_change();
