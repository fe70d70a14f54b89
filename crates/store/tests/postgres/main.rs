//! What only a server can do to a record: vanish, come back, answer late or not at all, be shared by strangers.

#[path = "mod.rs"]
mod postgres;

#[cfg(test)]
mod lineage;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod service;
#[cfg(test)]
mod work;

use postgres::{Database, Durability, Server, skipped};
use runstone_core::store::{Change, Ownership, Store, StoreError};
use runstone_core::time::Timestamp;
use runstone_store::Location;
use work::project;

fn connect(url: String) -> Result<Box<dyn Store>, StoreError> {
    runstone_store::connect(&Location::Postgres(url), &project())
}

#[test]
fn processes_that_make_the_schema_at_once_make_it_once() {
    if skipped() {
        return;
    }
    let server = Server::shared();
    let database = Database::empty(server);
    let connections: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url();
            std::thread::spawn(move || connect(url).map(|mut store| work::chain(&mut *store, 2, |_| ())))
        })
        .collect();
    for connection in connections {
        connection.join().unwrap().unwrap();
    }
    let applied = database.admin().lines("SELECT version || ' ' || name FROM runstone.migration ORDER BY 1");
    assert_eq!(applied, ["1 record", "2 service", "3 lineage", "4 asserted"]);
}

#[test]
fn a_schema_that_is_not_ours_is_refused() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut admin = database.admin();
    admin.execute("INSERT INTO runstone.migration (version, name, checksum) VALUES (99, 'future', '')");
    let error = connect(database.url()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
    admin.execute("DELETE FROM runstone.migration WHERE version = 99; UPDATE runstone.migration SET checksum = ''");
    let error = connect(database.url()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
}

#[test]
fn an_ordinary_user_needs_no_right_to_create_anything() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let role = format!("user_{}", database.name);
    database.admin().execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA runstone TO {role}; \
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA runstone TO {role}; \
         GRANT DELETE ON runstone.flight, runstone.pool, runstone.unlogged TO {role}; \
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA runstone TO {role}"
    ));
    let url = database.url().replace("//postgres@", &format!("//{role}@"));
    let mut store = connect(url).unwrap();
    work::chain(&mut *store, 3, |_| ());
    service::a_day(&mut *store);
    lineage::an_audit(&mut *store);
    database.admin().execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_server_that_crashes_between_batches_loses_nothing() {
    if skipped() {
        return;
    }
    let server = Server::private(Durability::Memory);
    let database = Database::new(&server);
    work::chain(&mut *database.connect(&project()), 4, |_| server.crash_and_restart());
}

/// Does `work` while another thread attacks again and again: whenever it is done with one attack, the next task of the work
/// brings on the next one, so that the work goes on in between. Returns how many attacks there were.
fn under_attack(mut attack: impl FnMut() + Send, work: impl FnOnce(&dyn Fn(u32))) -> u32 {
    let (next, coming) = std::sync::mpsc::sync_channel::<u32>(0);
    std::thread::scope(|scope| {
        let attacking = scope.spawn(move || {
            let mut attacks = 0;
            for task in coming {
                // Another moment each time.
                std::thread::sleep(std::time::Duration::from_micros(u64::from(task) * 379 % 10_000));
                attack();
                attacks += 1;
            }
            attacks
        });
        // Where nobody waits for it, the last attack is still under way. A failing work drops the channel, too.
        work(&|task| _ = next.try_send(task));
        drop(next);
        attacking.join().expect("an attack is not to fail")
    })
}

#[test]
fn a_server_that_crashes_at_any_moment_loses_and_doubles_nothing() {
    if skipped() {
        return;
    }
    let server = Server::private(Durability::Memory);
    let database = Database::new(&server);
    let mut store = database.connect(&project());
    let crashes = under_attack(|| server.crash_and_restart(), |between| work::chain(&mut *store, 25, between));
    assert!(crashes > 1);
}

#[test]
fn connections_that_are_terminated_are_made_again() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    let mut admin = database.server.admin("postgres");
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    let mut terminated = 0;
    let attack = || terminated += admin.rows(&sql).len();
    under_attack(attack, |between| work::chain(&mut *store, 60, between));
    assert!(terminated > 1);
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_applied_twice() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let proxy = proxy::Proxy::to(database.server.dir());
    let mut store = connect(proxy.url(&database.name)).unwrap();
    proxy.lose(1);
    work::chain(&mut *store, 10, |task| proxy.lose(1 + task % 3));
    assert!(proxy.lost() >= 10, "{} answers were lost", proxy.lost());

    let run = work::new_run(1);
    store.create_run(&run).unwrap();
    proxy.lose(1);
    let owner = store.take_over(run.id, false, Timestamp(5)).unwrap().unwrap();
    assert_eq!(owner.epoch, 2);
    proxy.lose(1);
    assert!(store.request_cancel(run.id, false, Timestamp(6)).unwrap());
    let told: Vec<String> = store.events(run.id, 0).unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(told, ["run_created", "run_taken_over", "cancel_requested"]);
    assert_eq!(store.runs(&Default::default()).unwrap().len(), 2);
}

#[test]
fn a_server_that_stays_away_is_an_error_in_bounded_time() {
    if skipped() {
        return;
    }
    let server = Server::private(Durability::Memory);
    let database = Database::new(&server);
    let mut store = connect(format!("{}&retry-seconds=1&password=hunter2", database.url())).unwrap();
    server.crash();
    let error = store.runs(&Default::default()).unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    let fresh = connect(format!("{}&password=hunter2", database.url())).map(drop).unwrap_err();
    for error in [error, fresh] {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2") && told.contains("password=***"), "{told}");
    }
    assert!(!store.describe().contains("hunter2"));
    server.restart();
    assert!(store.runs(&Default::default()).unwrap().is_empty());
}

#[test]
fn runs_that_write_the_same_rows_in_any_order_never_wait_in_a_circle() {
    if skipped() {
        return;
    }
    const TASKS: u32 = 24;
    let database = Database::new(Server::shared());
    let store = database.connect(&project());
    std::thread::scope(|scope| {
        for writer in 0..4_u32 {
            let mut store = store.reopen().unwrap();
            scope.spawn(move || {
                for round in 0..8_u32 {
                    let run = work::new_run(TASKS);
                    store.create_run(&run).unwrap();
                    let owner = Ownership { run: run.id, epoch: 1 };
                    // Everybody asks for the same things and publishes in the same datasets, each in another order.
                    let turned = |task: u32| (task * (2 * writer + 5) + round) % TASKS;
                    let mut changes: Vec<Change> = Vec::new();
                    for task in 0..TASKS {
                        let Change::Start(mut intent) = work::start(task, &format!("{round} {}", turned(task))) else {
                            unreachable!()
                        };
                        intent.pins.clear();
                        changes.push(Change::Start(intent));
                        let bytes = format!("{writer} {round}");
                        changes.push(work::finish(task, &format!("d{}", turned(task)), &bytes));
                    }
                    for part in changes.chunks(2 * TASKS as usize / 3) {
                        store.commit(owner, Timestamp(2), part).unwrap();
                    }
                }
            });
        }
    });
    drop(store);
    let sql = format!("SELECT deadlocks::text FROM pg_stat_database WHERE datname = '{}'", database.name);
    assert_eq!(database.server.admin("postgres").lines(&sql), ["0"]);
    assert_eq!(database.connect(&project()).check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_pooler_in_transaction_mode_is_no_different() {
    if skipped() {
        return;
    }
    let server = Server::shared();
    let Some(pooler) = pooler::Pooler::before(server) else { return };
    let database = Database::empty(server);
    let url = pooler.url(&database.name);
    // Told or not, it must work: what a pooler mixes up is noticed.
    for url in [format!("{url}&statement-cache-capacity=0"), url] {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                std::thread::spawn(move || work::chain(&mut *connect(url).unwrap(), 12, |_| ()))
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

#[test]
fn what_is_carved_in_stone_cannot_be_changed_by_hand() {
    if skipped() {
        return;
    }
    let database = Database::new(Server::shared());
    let mut store = database.connect(&project());
    work::chain(&mut *store, 2, |_| ());
    lineage::an_audit(&mut *store);
    let mut admin = database.admin();
    admin.execute("SET search_path = runstone");
    for sql in [
        "UPDATE log_leaf SET idx = idx + 1",
        "DELETE FROM log_leaf",
        "UPDATE checkpoint SET note = 'x'",
        "DELETE FROM checkpoint",
        "UPDATE tag SET name = 'x'",
        "DELETE FROM tag_move",
        "UPDATE tag_move SET user_name = 'x'",
        "UPDATE tag_target SET mat_id = mat_id",
        "DELETE FROM tag_target",
        "UPDATE reproduction SET verdict = 'x'",
        "TRUNCATE log_leaf",
        "UPDATE consumed SET trust = 'asserted'",
        "DELETE FROM consumed",
        "UPDATE materialization SET file_name = 'x'",
        "DELETE FROM version",
        "UPDATE derivation SET canonical = ''",
        "UPDATE attempt SET state = 'failed', cause = 'lost'",
        "UPDATE attempt SET message = 'x'",
        "UPDATE task SET state = 'waiting'",
        "UPDATE run SET epoch = 0",
        "INSERT INTO consumed VALUES (2, 4, 'x', 'verified')",
        "TRUNCATE consumed",
    ] {
        assert!(admin.try_execute(sql).is_err(), "{sql}");
    }
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    let owner = Ownership { run: work::new_run(1).id, epoch: 1 };
    assert!(matches!(store.commit(owner, Timestamp(1), &[]), Err(StoreError::LostOwnership { .. })));
}
