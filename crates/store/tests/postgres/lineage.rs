//! Lineage where a server makes a difference: answers that are lost, ids that appear late, plans over many rows.

use runstone_core::lineage::store::{CheckpointRecord, NewReproduction};
use runstone_core::lineage::tag::{Expect, NewTagMove, TagMoved, TagName};
use runstone_core::record::NodeId;
use runstone_core::store::{Applied, Change, Direction, Ownership, Store, VersionRef, WalkLimit};
use runstone_core::time::Timestamp;
use runstone_store::postgres::{CLOSURE_DOWN, CLOSURE_UP, LEVEL_DOWN, LEVEL_UP, PRODUCERS, READERS};

use super::postgres::database::Admin;
use super::postgres::{Database, Durability, Server, skipped};
use super::work::project;
use super::{connect, proxy, work};

const ALL: WalkLimit = WalkLimit::NONE;

/// A move of a tag of `p/d0` to its newest publication.
fn tag(store: &mut dyn Store, expect: Expect) -> NewTagMove {
    NewTagMove {
        dataset: "p/d0".to_owned(),
        name: TagName::new("champion").unwrap(),
        targets: store.materializations("p/d0", 1).unwrap().iter().map(|made| made.id).collect(),
        expect,
        at: Timestamp(1),
        user: "ada".to_owned(),
        host: "mill".to_owned(),
        note: None,
    }
}

/// Everything that is written about lineage beside runs, once each: `before` is called before each.
fn write(store: &mut dyn Store, before: impl Fn()) {
    let attempts = store.unlogged(u32::MAX).unwrap();
    assert!(attempts.len() > 1);
    let leaves: Vec<_> = attempts.iter().map(|attempt| (*attempt, vec![7; 32])).collect();
    let all = u64::try_from(attempts.len()).unwrap();
    let checkpoint = CheckpointRecord { size: all, root: [7; 32], note: "note".to_owned(), created: Timestamp(1) };
    before();
    assert!(store.append_log(&leaves, &checkpoint).unwrap());
    assert_eq!((store.log_size().unwrap(), store.unlogged(9).unwrap().len()), (all, 0));
    before();
    assert!(!store.append_log(&leaves, &checkpoint).unwrap());
    for rev in 0..3 {
        let new = tag(store, Expect::Rev(rev));
        before();
        assert_eq!(store.move_tag(&new).unwrap(), TagMoved::Moved(rev + 1));
        before();
        assert!(matches!(store.move_tag(&new).unwrap(), TagMoved::Overtaken(Some(last)) if last.rev == rev + 1));
    }
    let publication = tag(store, Expect::Anything).targets[0];
    before();
    assert!(store.set_profile(publication, &serde_json::json!({"rows": 1}), Timestamp(1)).unwrap());
    let text = || "x".to_owned();
    let body = serde_json::json!({});
    let verdict =
        NewReproduction { attempt: attempts[0], verdict: text(), body, at: Timestamp(1), user: text(), host: text() };
    before();
    store.add_reproduction(&verdict).unwrap();
    assert_eq!(store.reproductions(&attempts).unwrap().len(), 1);
    assert_eq!(store.tags(None).unwrap().len(), 1);
    assert_eq!(store.profiles(&[publication]).unwrap().len(), 1);
}

/// Lineage is looked at and added to.
pub(crate) fn an_audit(store: &mut dyn Store) {
    write(store, || ());
    assert!(store.edges(NodeId(0), u32::MAX).unwrap().until <= store.horizon().unwrap().newest);
}

#[test]
fn what_is_written_about_lineage_is_written_once() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let proxy = proxy::Proxy::to(database.server.dir());
    let mut store = connect(proxy.url(&database.name)).unwrap();
    work::chain(&mut *store, 3, |_| ());
    write(&mut *store, || proxy.lose(2));
    assert!(proxy.lost() >= 12, "{} answers were lost", proxy.lost());
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

#[test]
fn what_ended_before_the_log_came_is_to_be_logged() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    work::chain(&mut *store, 3, |_| ());
    begin(&mut *store, "live");
    let ended = store.unlogged(9).unwrap();
    assert_eq!(ended.len(), 3);
    // As it was before.
    database.admin().execute(
        "SET search_path = runstone; DELETE FROM migration WHERE version >= 3; DROP FUNCTION to_be_logged CASCADE; \
         DROP SEQUENCE asserted_dataset_id CASCADE; \
         DROP TABLE unlogged, log_leaf, checkpoint, tag, tag_move, tag_target, profile, reproduction; \
         DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'runstone' \
         AND tablename LIKE 'asserted%' LOOP EXECUTE 'DROP TABLE ' || name || ' CASCADE'; END LOOP; END $$",
    );
    let mut store = database.connect(&project());
    assert_eq!(store.unlogged(9).unwrap(), ended);
    an_audit(&mut *store);
}

/// Waits until so many transactions of a database wait for locks of others.
fn wait_for_waiting(admin: &mut Admin, database: &Database<'_>, count: usize) {
    let sql = format!(
        "SELECT 'waits' FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
        database.name
    );
    while admin.lines(&sql).len() != count {
        std::thread::yield_now();
    }
}

/// The moment comes unless something else has a transaction open for ever.
fn wait_for_settled(store: &mut dyn Store, fence: u64) {
    while store.horizon().unwrap().oldest < fence {
        std::thread::yield_now();
    }
}

fn published(store: &mut dyn Store) -> Vec<NodeId> {
    store.edges(NodeId(0), u32::MAX).unwrap().produced.into_iter().map(|(_, publication)| publication).collect()
}

/// A run of two tasks, the first of which is under way.
fn begin(store: &mut dyn Store, asks: &str) -> Ownership {
    let run = work::new_run(2);
    store.create_run(&run).unwrap();
    let owner = Ownership { run: run.id, epoch: 1 };
    store.commit(owner, Timestamp(2), &[work::start(0, asks)]).unwrap();
    owner
}

/// The first task of a run publishes `p/<name>`, and more happens in the same batch.
fn publish(store: &mut dyn Store, owner: Ownership, name: &str, more: &[Change]) -> NodeId {
    let changes = [&[work::finish(0, name, &owner.run.to_string())], more].concat();
    let applied = store.commit(owner, Timestamp(3), &changes).unwrap().remove(0);
    let Applied::Published { materializations, .. } = applied else { panic!("{applied:?}") };
    materializations[0]
}

#[test]
fn ids_below_the_newest_appear_until_the_fence_is_passed() {
    if skipped() {
        return;
    }
    // Nobody else has transactions there.
    let server = Server::private(Durability::Memory);
    let database = Database::new(&server);
    let (mut early, mut late) = (database.connect(&project()), database.connect(&project()));
    work::chain(&mut *early, 1, |_| ());
    let (mut lock, mut admin) = (database.admin(), database.admin());
    let (slow, fast) = (begin(&mut *early, "slow"), begin(&mut *late, "fast"));

    // A commit that has taken its ids waits for a dataset, and another one overtakes it.
    lock.execute("BEGIN; SELECT id FROM runstone.dataset WHERE name = 'p/d0' FOR UPDATE");
    let (appeared, horizon) = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| publish(&mut *early, slow, "d0", &[]));
        wait_for_waiting(&mut admin, &database, 1);
        let newest = publish(&mut *late, fast, "other", &[]);
        let horizon = late.horizon().unwrap();
        assert_eq!(horizon.newest, newest);
        assert!(horizon.oldest < horizon.fence);
        let seen = published(&mut *late);
        assert!(late.horizon().unwrap().oldest < horizon.fence, "not decided while the other one lives");
        lock.execute("COMMIT");
        let appeared = waiting.join().unwrap();
        assert!(!seen.contains(&appeared));
        (appeared, horizon)
    });
    assert!(appeared < horizon.newest, "{appeared:?} appears below {horizon:?}");
    wait_for_settled(&mut *late, horizon.fence);
    assert!(published(&mut *late).contains(&appeared));

    // The newest transaction is the one that lives: no other one has ended after it began.
    let (mut first, mut second) = (database.admin(), database.admin());
    let put = |admin: &mut Admin| {
        let id = admin.lines("SELECT nextval('runstone.node_id')::text").remove(0);
        admin.execute(&format!(
            "INSERT INTO runstone.attempt SELECT (jsonb_populate_record(a, jsonb_build_object( \
                 'id', {id}, 'uuid', gen_random_uuid(), 'number', {id}))).* FROM runstone.attempt a ORDER BY a.id LIMIT 1"
        ));
        NodeId(id.parse().unwrap())
    };
    first.execute("BEGIN; SELECT pg_current_xact_id()");
    second.execute("BEGIN; SELECT pg_current_xact_id()");
    let hidden = put(&mut second);
    let newest = put(&mut first);
    first.execute("COMMIT");
    let horizon = late.horizon().unwrap();
    assert!(hidden < newest && horizon.newest == newest);
    assert!(horizon.oldest < horizon.fence, "{horizon:?} says that nothing lives");
    assert!(late.horizon().unwrap().oldest < horizon.fence);
    second.execute("COMMIT");
    wait_for_settled(&mut *late, horizon.fence);
    assert!(!late.unlogged(u32::MAX).unwrap().is_empty());
}

#[test]
fn latest_never_goes_back_to_what_came_before() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let (mut early, mut late) = (database.connect(&project()), database.connect(&project()));
    begin(&mut *late, "held");
    let (slow, fast) = (begin(&mut *early, "slow"), begin(&mut *late, "fast"));
    let (mut lock, mut admin) = (database.admin(), database.admin());
    // A commit that has taken its ids waits for a claim, and another one publishes the same dataset meanwhile.
    lock.execute("BEGIN; SELECT * FROM runstone.flight ORDER BY attempt_id LIMIT 1 FOR UPDATE");
    let (before, newest) = std::thread::scope(|scope| {
        let mut wanted = work::start(1, "held");
        if let Change::Start(start) = &mut wanted {
            start.pins.clear();
        }
        let waiting = scope.spawn(|| publish(&mut *early, slow, "d", &[wanted]));
        wait_for_waiting(&mut admin, &database, 1);
        let newest = publish(&mut *late, fast, "d", &[]);
        lock.execute("COMMIT");
        (waiting.join().unwrap(), newest)
    });
    assert!(before < newest);
    for named in [VersionRef::Latest, VersionRef::AsOf(Timestamp(3))] {
        let found = late.resolve("p/d", &named).unwrap();
        assert_eq!(found.iter().map(|publication| publication.id).collect::<Vec<_>>(), [newest], "{named:?}");
    }
    assert_eq!(late.check().unwrap(), Vec::<String>::new());
}

/// A graph of so many attempts, each of which publishes and reads what two before it published.
const ROWS: u32 = 100_000;

/// Written past every guard: attempts have odd ids, publications even ones.
fn fill(admin: &mut Admin) {
    for sql in [
        "SET search_path = runstone; SET session_replication_role = replica".to_owned(),
        format!(
            "INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state, \
                 fingerprint, created, started, ended, cause) \
             SELECT 2 * n - 1, gen_random_uuid(), p.id, '00000000-0000-0000-0000-000000000001', n, 1, 'p', 's', '', 'run', \
                 'succeeded', decode(repeat('00', 32), 'hex'), now(), now(), now(), 'exit' \
             FROM generate_series(1, {ROWS}) AS n, project p"
        ),
        format!(
            "INSERT INTO materialization (id, version_id, attempt_id, output, subset, file_name, created) \
             SELECT 2 * n, 1, 2 * n - 1, 'out', '', 'out', now() FROM generate_series(1, {ROWS}) AS n"
        ),
        format!(
            "INSERT INTO consumed (attempt_id, mat_id, slot, trust) \
             SELECT 2 * n - 1, 2 * (n - back), 'in', 'verified' \
             FROM generate_series(1, {ROWS}) AS n, unnest(ARRAY[1, 7]) AS back WHERE n > back"
        ),
        "VACUUM ANALYZE attempt".to_owned(),
        "VACUUM ANALYZE materialization".to_owned(),
        "VACUUM ANALYZE consumed".to_owned(),
    ] {
        admin.execute(&sql);
    }
}

#[test]
fn walks_through_the_graph_never_touch_a_table() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    drop(database.connect(&project()));
    let mut admin = database.admin();
    fill(&mut admin);
    // As the store asks for it.
    admin.execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
         SET enable_material = off; SET join_collapse_limit = 1; SET jit = off",
    );
    let statements = [
        (CLOSURE_UP, 2, 0),
        (CLOSURE_DOWN, 2, 0),
        (LEVEL_UP, 2, 0),
        (LEVEL_DOWN, 2, 1),
        (PRODUCERS, 1, 0),
        (READERS, 1, 1),
    ];
    for (sql, index_only, by_key) in statements {
        for mode in ["force_generic_plan", "force_custom_plan"] {
            let args = if sql.contains("$2") { ("bigint[], bigint", ", 1000000") } else { ("bigint[]", "") };
            admin.execute(&format!("SET plan_cache_mode = {mode}; PREPARE w({}) AS {sql}", args.0));
            let start = ROWS / 2 * 2;
            let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE w('{{{start}}}'{})", args.1);
            let plan = admin.lines(&explain).join("\n");
            admin.execute("DEALLOCATE w");
            assert_eq!(plan.matches("Index Only Scan using").count(), index_only, "{plan}");
            assert_eq!(plan.matches("Heap Fetches: 0").count(), index_only, "{plan}");
            // Only whether an attempt succeeded is looked up in its row.
            assert_eq!(plan.matches("Index Scan using attempt_pkey").count(), by_key, "{plan}");
            assert!(!plan.contains("Seq Scan") && !plan.contains("Bitmap"), "{plan}");
        }
    }
}

#[test]
fn a_long_chain_on_a_server_is_walked_as_ids() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    fill(&mut database.admin());
    let last = NodeId(i64::from(2 * ROWS));
    let whole = store.closure(&[last], Direction::Up, ALL).unwrap();
    assert_eq!((whole.materializations.len(), whole.cut), (ROWS as usize, None));
    assert_eq!(whole.attempts.len(), ROWS as usize);
    let down = store.closure(&[NodeId(2)], Direction::Down, ALL).unwrap();
    assert_eq!((down.materializations, down.attempts.len()), (whole.materializations, ROWS as usize - 1));
    let mut edges = 0;
    let mut after = NodeId(0);
    while after < last {
        let page = store.edges(after, 50_000).unwrap();
        edges += page.consumed.len() + page.produced.len();
        after = page.until;
    }
    assert_eq!(edges, 3 * ROWS as usize - 8);
    assert!(store.closure(&[NodeId(1 << 40)], Direction::Up, ALL).unwrap().materializations.is_empty());
}
