-- Lineage that answers and proves. Explained for readers in docs/schema.md.

-- Attempts that ended and are not in the log yet. The database itself fills it, whatever wrote the end, so that none is
-- forgotten. Without foreign keys: a row is written beside that of its attempt, and they would be looked for once more.
create table unlogged (
    project_id bigint not null,
    attempt_id bigint not null,
    primary key (project_id, attempt_id)
);
insert into unlogged (project_id, attempt_id)
    select project_id, id from attempt where state in ('succeeded', 'failed');
-- Whoever writes need not look into this schema.
create function to_be_logged() returns trigger language plpgsql as $$
begin
    insert into runstone.unlogged (project_id, attempt_id) values (new.project_id, new.id);
    return null;
end $$;
create trigger ends after update on attempt for each row
    when (new.state in ('succeeded', 'failed') and old.state not in ('succeeded', 'failed')) execute function to_be_logged();
create trigger begins_ended after insert on attempt for each row
    when (new.state in ('succeeded', 'failed')) execute function to_be_logged();

-- The Merkle log: leaf `idx` is the statement of an attempt. `record` is its hash, and then that of every complete
-- subtree that ends with it.
create table log_leaf (
    project_id bigint not null references project,
    idx        bigint not null check (idx >= 0),
    attempt_id bigint not null unique references attempt,
    record     bytea  not null check (octet_length(record) > 0 and octet_length(record) % 32 = 0),
    primary key (project_id, idx)
);

create table checkpoint (
    project_id bigint      not null references project,
    size       bigint      not null check (size > 0),
    root       bytea       not null check (octet_length(root) = 32),
    -- the signed text
    note       text        not null,
    created    timestamptz not null,
    primary key (project_id, size)
);

-- A movable name of versions of one dataset. It never changes; its moves follow each other.
create table tag (
    id         bigint generated always as identity primary key,
    dataset_id bigint not null references dataset,
    name       text   collate "C" not null,
    unique (dataset_id, name)
);

create table tag_move (
    tag_id    bigint      not null references tag,
    rev       bigint      not null check (rev >= 1),
    created   timestamptz not null,
    user_name text        not null,
    host      text        not null,
    note      text,
    primary key (tag_id, rev)
);

-- Where a move leads; nowhere means that the tag was taken away.
create table tag_target (
    tag_id bigint not null,
    rev    bigint not null,
    mat_id bigint not null references materialization,
    primary key (tag_id, rev, mat_id),
    foreign key (tag_id, rev) references tag_move
);

-- What is known of a version that is a table: schema, rows, statistics.
create table profile (
    version_id bigint      primary key references version,
    body       jsonb       not null,
    created    timestamptz not null
);

-- What came of executing an attempt's derivation again.
create table reproduction (
    id         bigint generated always as identity primary key,
    attempt_id bigint      not null references attempt,
    verdict    text        not null,
    body       jsonb       not null,
    created    timestamptz not null,
    user_name  text        not null,
    host       text        not null
);
create index reproduction_by_attempt on reproduction (attempt_id, id);

create trigger immutable before update or delete or truncate on log_leaf
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on checkpoint
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on tag
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on tag_move
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on tag_target
    for each statement execute function refuse_change();
create trigger immutable before update or delete or truncate on reproduction
    for each statement execute function refuse_change();

-- Walks read indexes alone as long as pages are known to be visible to all, which is found out by vacuuming. By default that comes
-- once a table has grown by a fifth, and what people ask about is what is newest. Where rows are only ever added, it costs
-- a look at the new pages.
alter table materialization set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
alter table consumed set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000);
