-- Lineage that others assert. Explained for readers in docs/schema.md.

create table asserted_run (
    id         bigint generated always as identity primary key,
    project_id bigint not null references project,
    uuid       uuid   not null,
    -- what it was called where that is no UUID
    given      text,
    kind       text   not null check (kind in ('run', 'job')),
    unique (project_id, uuid)
);

-- A name. Where it leads is all that changes.
create sequence asserted_dataset_id as bigint minvalue 1 cache 1;
create table asserted_dataset (
    id           bigint primary key,
    project_id   bigint not null references project,
    namespace    text   collate "C" not null,
    name         text   collate "C" not null,
    canonical_id bigint not null references asserted_dataset,
    unique (project_id, namespace, name)
) with (fillfactor = 90);
create index asserted_dataset_by_canonical on asserted_dataset (canonical_id);

create table asserted_event (
    id            bigint generated always as identity primary key,
    project_id    bigint      not null references project,
    dedup         bytea       not null check (octet_length(dedup) = 32),
    received      timestamptz not null,
    kind          text        not null check (kind in ('run', 'job', 'dataset')),
    type          text        check (type in ('START', 'RUNNING', 'COMPLETE', 'ABORT', 'FAIL', 'OTHER')),
    time          timestamptz not null,
    run_id        bigint      references asserted_run,
    job_namespace text,
    job_name      text,
    size          bigint      not null,
    -- as it was received, so that it is text
    body          text,
    object        bytea       check (octet_length(object) = 32),
    unique (project_id, dedup),
    check ((body is null) <> (object is null)),
    check ((kind = 'run') = (type is not null)),
    check ((kind = 'dataset') = (run_id is null)),
    check ((run_id is null) = (job_namespace is null) and (run_id is null) = (job_name is null))
);
create index asserted_event_by_run on asserted_event (run_id, time, dedup);

-- What all events say together, each thing once.
create table asserted_edge (
    run_id     bigint not null references asserted_run,
    side       text   not null check (side in ('input', 'output')),
    dataset_id bigint not null references asserted_dataset,
    version    text   collate "C" check (version <> ''),
    hash       bytea  check (octet_length(hash) = 32),
    check (hash is null or version is not null)
);
create unique index asserted_edge_once on asserted_edge (run_id, side, dataset_id, coalesce(version, ''));
create index asserted_edge_by_point on asserted_edge (dataset_id, side, coalesce(version, ''));
create index asserted_edge_by_content on asserted_edge (hash, side) where hash is not null;

-- Of which columns the columns of an output were made: what each event said, the newest counts.
create table asserted_columns (
    run_id     bigint      not null references asserted_run,
    dataset_id bigint      not null references asserted_dataset,
    time       timestamptz not null,
    dedup      bytea       not null check (octet_length(dedup) = 32),
    body       jsonb       not null,
    primary key (run_id, dataset_id, time, dedup)
);

-- Further names of a dataset: what each event said, the newest counts. Its own name alone means that it has no others.
create table asserted_symlink (
    dataset_id bigint      not null references asserted_dataset,
    time       timestamptz not null,
    dedup      bytea       not null check (octet_length(dedup) = 32),
    alias_id   bigint      not null references asserted_dataset,
    primary key (dataset_id, time, dedup, alias_id)
);
create index asserted_symlink_by_alias on asserted_symlink (alias_id, dataset_id);

create trigger immutable before update or delete or truncate on asserted_run
    for each statement execute function refuse_change();
create trigger immutable before delete or truncate on asserted_dataset
    for each statement execute function refuse_change();
create trigger named before update on asserted_dataset for each row
    when ((new.id, new.project_id, new.namespace, new.name) is distinct from (old.id, old.project_id, old.namespace, old.name))
    execute function refuse_change();
create trigger immutable before update or delete or truncate on asserted_event
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on asserted_edge
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on asserted_columns
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on asserted_symlink
    for each statement execute function refuse_change();
