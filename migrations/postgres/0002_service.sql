-- The service of Runstone: schedulers, schedules and their fires, the queue, backfills, pools. docs/schema.md explains the
-- tables; the rules that matter most:
--   * leases go by the clock of this server, and a scheduler that is `gone` stays so;
--   * the row of the project is locked before anything is put in the queue and before any schedule changes: numbers and
--     revisions can be seen in the order in which they were given;
--   * slots of a pool are never counted: those in use are the sum over the live attempts that hold some.

-- the newest `rev` of a schedule
alter table project add column schedule_rev bigint not null default 0;
alter table project set (fillfactor = 50);

-- One start of a scheduler process. Its lease runs for `ttl_ms` from `seen` on.
create table scheduler (
    id           uuid        primary key,
    project_id   bigint      not null references project,
    host         text        not null,
    pid          bigint      not null,
    pid_start    bigint      not null,
    place        text        not null,
    version      text        not null,
    store_marker uuid        not null,
    capacity     bigint      not null check (capacity >= 0),
    state        text        not null check (state in ('active', 'draining', 'gone')),
    started      timestamptz not null,
    seen         timestamptz not null,
    ttl_ms       bigint      not null check (ttl_ms >= 0)
) with (fillfactor = 50);
create index scheduler_started on scheduler (project_id, started, id);
create index scheduler_alive on scheduler (project_id) where state <> 'gone';

-- Pipelines that schedulers know, each as its last good file declares it.
create table pipeline (
    project_id      bigint      not null references project,
    name            text        collate "C" not null,
    definition      bytea       not null references definition,
    definition_path text        not null,
    active          boolean     not null,
    error           text,
    changed         timestamptz not null,
    primary key (project_id, name)
);

create table schedule (
    id         bigint      generated always as identity primary key,
    project_id bigint      not null references project,
    pipeline   text        collate "C" not null,
    name       text        collate "C" not null,
    timing     text        not null,
    spec       jsonb       not null,
    generation bigint      not null check (generation >= 1),
    active     boolean     not null,
    paused     boolean     not null,
    activated  timestamptz not null,
    cursor     timestamptz not null,
    seen       jsonb       not null,
    rev        bigint      not null,
    unique (project_id, pipeline, name),
    check (cursor >= activated)
) with (fillfactor = 50);
create index schedule_rev on schedule (project_id, rev);

-- Queue ---------------------------------------------------------------------------------------------------------------

create table backfill (
    id         uuid        primary key,
    project_id bigint      not null references project,
    pipeline   text        collate "C" not null,
    state      text        not null check (state in ('active', 'paused', 'cancelled', 'done')),
    parallel   bigint      not null check (parallel >= 1),
    -- in the order in which they are to run
    partitions text[]      collate "C" not null,
    -- how many of them were submitted
    next       bigint      not null check (next >= 0),
    -- what each submission is like
    template   jsonb       not null,
    created    timestamptz not null,
    ended      timestamptz,
    user_name  text        not null,
    check ((state in ('cancelled', 'done')) = (ended is not null))
) with (fillfactor = 70);
create index backfill_created on backfill (project_id, created, id);
create index backfill_live on backfill (project_id) where state in ('active', 'paused');

-- A run that was asked for. The row in `run` comes into being when a scheduler begins it.
create table submission (
    run_id          uuid        primary key,
    project_id      bigint      not null references project,
    number          bigint      not null check (number > 0),
    pipeline        text        collate "C" not null,
    definition      bytea       not null references definition,
    definition_path text        not null,
    params          jsonb       not null,
    request         jsonb       not null,
    trigger         text        not null,
    partition       text        collate "C",
    priority        integer     not null,
    -- those of one group run one at a time, in the order of their numbers
    queue_group     text        collate "C",
    backfill_id     uuid        references backfill,
    key             text        collate "C",
    state           text        not null check (state in ('queued', 'claimed', 'running', 'done', 'cancelled', 'failed')),
    scheduler_id    uuid        references scheduler,
    claims          bigint      not null default 0 check (claims >= 0),
    created         timestamptz not null,
    ended           timestamptz,
    reason          text,
    -- asked for before the run was on record
    cancel          text        check (cancel in ('graceful', 'now')),
    store_marker    uuid        not null,
    tool_version    text        not null,
    platform        text        not null,
    user_name       text        not null,
    host            text        not null,
    git_commit      text,
    git_dirty       boolean,
    unique (project_id, number),
    unique (project_id, key),
    unique (backfill_id, partition),
    check ((state in ('done', 'cancelled', 'failed')) = (ended is not null)),
    check (state <> 'queued' or (scheduler_id is null and cancel is null)),
    check (state <> 'claimed' or scheduler_id is not null)
) with (fillfactor = 60);
create index submission_queued on submission (project_id, pipeline, priority desc, number) where state = 'queued';
create index submission_taken on submission (project_id, number) where state in ('claimed', 'running');
create index submission_owned on submission (scheduler_id) where state in ('claimed', 'running');
create index submission_group on submission (project_id, queue_group, number)
    where queue_group is not null and state in ('queued', 'claimed', 'running');

-- The decision about one fire time, or about a row of missed ones.
create table fire (
    schedule_id bigint      not null references schedule,
    generation  bigint      not null,
    time        timestamptz not null,
    until       timestamptz not null,
    count       bigint      not null check (count >= 1),
    decided     timestamptz not null,
    run_id      uuid        references submission,
    reason      text,
    primary key (schedule_id, generation, time),
    check (until >= time),
    check ((run_id is null) = (reason is not null)),
    check (run_id is null or count = 1)
);
create index fire_time on fire (time);

-- Pools ---------------------------------------------------------------------------------------------------------------

create table pool (
    project_id bigint  not null references project,
    name       text    collate "C" not null,
    slots      bigint  not null check (slots >= 0),
    -- false: it goes as soon as nobody uses it
    declared   boolean not null,
    primary key (project_id, name)
) with (fillfactor = 50);

alter table run add column partition text collate "C";

-- whose slots it holds while it lives
alter table attempt add column pool text collate "C";
alter table attempt add column slots bigint;
alter table attempt add column pool_priority integer;
-- No column that changes before the end of an attempt is named: until then its row moves within its page.
create index attempt_holds on attempt (project_id, pool) where pool is not null and ended is null;

-- when its owner last wrote: tasks of one that is silent wait in no line
alter table run add column written timestamptz;

-- in whose line it stands
alter table task add column pool text collate "C";
alter table task add column pool_slots bigint;
alter table task add column pool_priority integer;
alter table task add column pool_since timestamptz;
create index task_in_line on task (pool) where pool is not null;

-- Guards: what was decided stays decided ------------------------------------------------------------------------------

create trigger immutable before update or delete or truncate on fire
    for each statement execute function refuse_change();
create trigger stays before delete or truncate on submission
    for each statement execute function refuse_change();
create trigger terminal before update on scheduler for each row
    when (old.state = 'gone') execute function refuse_change();
create trigger terminal before update on backfill for each row
    when (old.state in ('cancelled', 'done')) execute function refuse_change();
create trigger terminal before update on submission for each row
    when (old.state in ('done', 'cancelled', 'failed')) execute function refuse_change();
create trigger claims before update on submission for each row
    when (new.claims < old.claims or new.run_id <> old.run_id or new.number <> old.number) execute function refuse_change();
create trigger goes_on before update on schedule for each row
    when (new.generation < old.generation or new.cursor < old.cursor or new.rev < old.rev) execute function refuse_change();
