//! Single flight: no two live attempts of a project hold the claim on one fingerprint.

use runstone_core::record::{NodeId, TaskState};
use runstone_core::store::{Applied, Change, Flight, StartAttempt};

use super::Backend;
use super::driver::{Driver, failure, fingerprint, finish, start, success, uuid};

fn claiming(task: u32, number: u32) -> StartAttempt {
    StartAttempt { fingerprint: fingerprint("same"), claim: true, uuid: uuid(), ..start(task, number) }
}

fn busy(driver: &mut Driver<'_>, intent: StartAttempt) -> Flight {
    let before = driver.backend.dump();
    let Applied::Busy(flight) = driver.apply(Change::Start(intent)) else { panic!("not busy") };
    assert_eq!(driver.backend.dump(), before);
    flight
}

pub(crate) fn one_live_attempt_holds_a_fingerprint(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a"]);
    let mut two = Driver::new(backend, &["a", "b"]);
    assert_eq!(one.store.flight(&fingerprint("same")).unwrap(), None);
    let holder = claiming(0, 1);
    let attempt = one.started(holder.clone());
    let expected =
        Flight { fingerprint: fingerprint("same"), attempt, uuid: holder.uuid, run: one.owner.run, run_number: 1 };
    assert_eq!(two.store.flight(&fingerprint("same")).unwrap(), Some(expected.clone()));
    assert_eq!(busy(&mut two, claiming(0, 1)), expected);
    one.apply(Change::Running { task: 0, number: 1 });
    assert_eq!(busy(&mut two, claiming(0, 1)), expected);
    assert_eq!(two.states(), [TaskState::Waiting, TaskState::Waiting]);
    two.stale(Change::Start(claiming(0, 2)));
    // Another question is another claim.
    two.started(StartAttempt { claim: true, ..start(1, 1) });
    two.sound();
}

pub(crate) fn a_claim_is_free_again_after_success_and_failure(backend: &dyn Backend) {
    let mut one = Driver::new(backend, &["a"]);
    let mut two = Driver::new(backend, &["a"]);
    one.started(claiming(0, 1));
    one.finished(failure(0, 1, TaskState::Retrying));
    assert_eq!(one.store.flight(&fingerprint("same")).unwrap(), None);
    let attempt = two.started(claiming(0, 1));
    assert_eq!(busy(&mut one, claiming(0, 2)).attempt, attempt);
    two.finished(success(0, 1, Vec::new()));
    assert_eq!(two.store.flight(&fingerprint("same")).unwrap(), None);
    one.started(claiming(0, 2));
    one.sound();
}

pub(crate) fn without_a_claim_nobody_waits(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c", "d"]);
    driver.started(StartAttempt { claim: false, ..claiming(3, 1) });
    let attempt = driver.started(claiming(0, 1));
    driver.started(StartAttempt { claim: false, ..claiming(1, 1) });
    driver.finished(success(1, 1, Vec::new()));
    driver.finished(success(3, 1, Vec::new()));
    let holder = |driver: &mut Driver<'_>| driver.store.flight(&fingerprint("same")).unwrap().map(|f| f.attempt);
    assert_eq!(holder(&mut driver), Some(attempt), "only the holder ends its claim");
    driver.finished(success(0, 1, Vec::new()));
    assert_eq!(holder(&mut driver), None);
    driver.started(StartAttempt { claim: false, ..claiming(2, 1) });
    assert_eq!(holder(&mut driver), None);
    driver.sound();
}

pub(crate) fn claims_are_settled_in_the_order_of_a_batch(backend: &dyn Backend) {
    let mut driver = Driver::new(backend, &["a", "b", "c"]);
    let applied = driver.commit(&[
        Change::Start(claiming(0, 1)),
        Change::Start(claiming(1, 1)),
        finish(failure(0, 1, TaskState::Failed)),
        Change::Start(claiming(1, 1)),
        Change::Start(claiming(2, 1)),
    ]);
    let id = |applied: &Applied| -> NodeId {
        match applied {
            Applied::Started { attempt } | Applied::Published { attempt, .. } => *attempt,
            Applied::Busy(flight) => flight.attempt,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(
        applied[..],
        [
            Applied::Started { .. },
            Applied::Busy(_),
            Applied::Published { .. },
            Applied::Started { .. },
            Applied::Busy(_)
        ]
    ));
    assert_eq!(id(&applied[0]), id(&applied[1]));
    assert_eq!(id(&applied[3]), id(&applied[4]));
    driver.sound();
}
