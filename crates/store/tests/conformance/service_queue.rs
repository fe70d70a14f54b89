//! The queue: how a run gets in, whose turn it is, how it ends.

use runstone_core::hash::ContentHash;
use runstone_core::record::{RunEnvironment, RunId, RunState};
use runstone_core::service::record::{NewSubmission, SubmissionState};
use runstone_core::store::{RunRef, Store, StoreError};
use serde_json::json;
use uuid::Uuid;

use super::Backend;
use super::driver::{new_run, project, uuid};
use super::service::{
    at, begun, claimed, declared, ended, grouped, look, open, registered, run_of, sound, submission, taken,
};

pub(crate) fn a_submission_is_read_back_as_it_was_given(backend: &dyn Backend) {
    let mut store = open(backend);
    let new = NewSubmission {
        params: json!({"text": "Grüße \u{1F980}", "list": [1, 2.5, null, true]}),
        partition: Some("2026-03-29".to_owned()),
        priority: -7,
        group: Some("p".to_owned()),
        key: Some("once".to_owned()),
        store_marker: Uuid::from_u128(7),
        environment: RunEnvironment {
            tool_version: "0.1.0".to_owned(),
            platform: "linux-x86_64".to_owned(),
            user: "ada".to_owned(),
            host: "engine".to_owned(),
            git_commit: Some("c0ffee".to_owned()),
            git_dirty: Some(false),
        },
        ..submission("p")
    };
    let found = store.submit(&new, at(200)).unwrap();
    assert_eq!((found.run, found.number, found.state), (new.run, 1, SubmissionState::Queued));
    assert_eq!((&found.pipeline, &found.definition_path), (&new.pipeline, &new.definition_path));
    assert_eq!((&found.params, &found.request, &found.trigger), (&new.params, &new.request, &new.trigger));
    assert_eq!((&found.partition, found.priority, &found.group), (&new.partition, new.priority, &new.group));
    assert_eq!((&found.environment, found.store_marker, found.backfill), (&new.environment, new.store_marker, None));
    assert_eq!((found.scheduler, found.claims, found.created), (None, 0, at(200)));
    assert_eq!((found.ended, found.reason.as_deref(), found.cancel.as_deref()), (None, None, None));
    assert_eq!(found.run_state, None);
    let text = new.definition.clone().unwrap();
    assert_eq!(found.definition, ContentHash::of(text.as_bytes()));
    assert_eq!(store.definition(&found.definition).unwrap(), Some(text));

    let me = registered(&mut store);
    let claim = claimed(&mut store, new.run, me);
    assert_eq!((claim.claim.run, claim.claim.scheduler, claim.claim.claims), (new.run, me, 1));
    assert_eq!(claim.owner, None);
    assert_eq!(claim.submission, look(&mut store, new.run));
    assert_eq!((claim.submission.state, claim.submission.scheduler), (SubmissionState::Claimed, Some(me)));
    assert_eq!(store.run(&RunRef::Latest).unwrap(), None, "its run is not on record");
    let owner = begun(&mut store, &claim, &["a"]);
    let run = store.run(&RunRef::Number(1)).unwrap().unwrap();
    assert_eq!((run.id, run.partition.as_deref(), run.epoch), (new.run, Some("2026-03-29"), 1));
    let running = look(&mut store, new.run);
    assert_eq!((running.state, running.run_state), (SubmissionState::Running, Some(RunState::Running)));
    ended(&mut store, owner, 1, RunState::Failed);
    let done = look(&mut store, new.run);
    assert_eq!(
        (done.state, done.run_state, done.ended),
        (SubmissionState::Done, Some(RunState::Failed), Some(at(400)))
    );
    assert_eq!((done.reason, done.scheduler), (None, Some(me)));
    sound(&mut store);
}

pub(crate) fn submissions_and_runs_share_their_numbers(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let (first, second) = (submission("p"), submission("p"));
    store.submit(&first, at(200)).unwrap();
    assert_eq!(store.create_run(&new_run(&[])).unwrap(), 2, "from a terminal, meanwhile");
    store.submit(&second, at(201)).unwrap();
    let claim = claimed(&mut store, second.run, me);
    begun(&mut store, &claim, &[]);
    let claim = claimed(&mut store, first.run, me);
    begun(&mut store, &claim, &[]);
    assert_eq!(store.run(&RunRef::Number(1)).unwrap().unwrap().id, first.run);
    assert_eq!(store.submission(&RunRef::Number(2)).unwrap(), None);
    assert_eq!(store.submission(&RunRef::Latest).unwrap().unwrap().run, second.run);
    assert_eq!(store.create_run(&new_run(&[])).unwrap(), 4);
    sound(&mut store);
}

pub(crate) fn submissions_are_found_by_number_and_prefix(backend: &dyn Backend) {
    let mut store = open(backend);
    let ids = [0x0123_4567_89ab_7000_8000_0000_0000_0000_u128, 0x0123_ffff_0000_7000_8000_0000_0000_0000]
        .map(|id| RunId(Uuid::from_u128(id)));
    for run in ids {
        store.submit(&NewSubmission { run, ..submission("p") }, at(200)).unwrap();
    }
    let found = |store: &mut Box<dyn Store>, given: &str| store.submission(&RunRef::Prefix(given.to_owned()));
    assert_eq!(found(&mut store, "0123-f").unwrap().unwrap().run, ids[1]);
    assert_eq!(found(&mut store, "9999").unwrap(), None);
    let error = found(&mut store, "0123").unwrap_err();
    assert!(
        matches!(&error, StoreError::Ambiguous { what: "run", candidates, .. } if candidates.len() == 2
            && candidates[0].contains("#1") && candidates[1].contains("#2")),
        "{error}"
    );
    assert_eq!(store.submission(&RunRef::Number(2)).unwrap().unwrap().run, ids[1]);
    let mut other = backend.open(&project("other"));
    assert_eq!(other.submission(&RunRef::Latest).unwrap(), None);
    assert!(other.live_submissions(9).unwrap().is_empty());
    let theirs = registered(&mut other);
    assert_eq!(other.claim(ids[0], theirs, at(300)).unwrap(), None);
    assert!(!other.request_cancel(ids[0], true, at(300)).unwrap());
    sound(&mut store);
}

pub(crate) fn the_same_key_is_the_same_submission(backend: &dyn Backend) {
    let mut store = open(backend);
    let keyed = |key: &str| NewSubmission { key: Some(key.to_owned()), ..submission("p") };
    let first = store.submit(&keyed("a"), at(200)).unwrap();
    let before = backend.dump();
    assert_eq!(store.submit(&keyed("a"), at(201)).unwrap(), first);
    assert_eq!(backend.dump(), before);
    assert_eq!(store.submit(&keyed("b"), at(202)).unwrap().number, 2);
    assert_eq!(backend.open(&project("other")).submit(&keyed("a"), at(203)).unwrap().number, 1);
    store.request_cancel(first.run, false, at(204)).unwrap();
    assert_eq!(store.submit(&keyed("a"), at(205)).unwrap().state, SubmissionState::Cancelled, "also once it is over");

    let stores: Vec<_> = (0..4).map(|_| store.reopen().unwrap()).collect();
    let submit = |mut store: Box<dyn Store>| {
        let new: Vec<_> = (0..10).map(|n| keyed(&format!("many {n}"))).collect();
        std::thread::spawn(move || new.iter().map(|one| store.submit(one, at(206)).unwrap().run).collect::<Vec<_>>())
    };
    let workers: Vec<_> = stores.into_iter().map(submit).collect();
    let told: Vec<Vec<RunId>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!(store.queued_count().unwrap(), 11);
    sound(&mut store);
}

pub(crate) fn what_runs_is_fixed_when_it_is_submitted(backend: &dyn Backend) {
    let mut store = open(backend);
    let asked = || NewSubmission { definition: None, ..submission("p") };
    assert!(matches!(store.submit(&asked(), at(99)), Err(StoreError::Database { .. })), "nothing is in force");
    store.declare("", &[declared("p", &[])], &[], at(100)).unwrap();
    let before = store.submit(&asked(), at(101)).unwrap();
    let mut edited = declared("p", &[]);
    (edited.definition, edited.definition_path) = ("name: p\n# edited\n".to_owned(), "pipelines/q.yaml".to_owned());
    store.declare("", &[edited.clone()], &[], at(102)).unwrap();
    let after = store.submit(&asked(), at(103)).unwrap();
    assert_eq!(look(&mut store, before.run).definition, ContentHash::of(b"name: p\n"));
    assert_eq!(after.definition, ContentHash::of(edited.definition.as_bytes()));
    assert_eq!((&before.definition_path[..], &after.definition_path[..]), ("pipelines/p.yaml", "pipelines/q.yaml"));
    sound(&mut store);
}

pub(crate) fn a_long_queue_shows_the_first_of_each_pipeline(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    for (pipeline, priority) in [("a", 0), ("a", 0), ("a", 5), ("b", 0), ("a", 5), ("c", -1), ("b", 0)] {
        store.submit(&NewSubmission { priority, ..submission(pipeline) }, at(200)).unwrap();
    }
    let numbers = |store: &mut Box<dyn Store>, per_pipeline| -> Vec<i64> {
        store.live_submissions(per_pipeline).unwrap().iter().map(|one| one.number).collect()
    };
    assert_eq!(numbers(&mut store, 1), [3, 4, 6]);
    assert_eq!(numbers(&mut store, 2), [3, 4, 5, 6, 7]);
    assert_eq!(numbers(&mut store, 99), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(store.queued_count().unwrap(), 7);
    let find = |store: &mut Box<dyn Store>, number| store.submission(&RunRef::Number(number)).unwrap().unwrap().run;
    let (two, three) = (find(&mut store, 2), find(&mut store, 3));
    let first = claimed(&mut store, two, me);
    begun(&mut store, &first, &[]);
    let second = claimed(&mut store, three, me);
    assert_eq!(numbers(&mut store, 1), [2, 3, 4, 5, 6], "whatever is claimed or running, and the first that waits");
    assert_eq!(numbers(&mut store, 0), [2, 3]);
    store.fail_submission(second.claim, "no such step", at(310)).unwrap();
    assert_eq!(numbers(&mut store, 0), [2]);
    assert_eq!(store.queued_count().unwrap(), 5);

    // Whose turn it is in its group is seen, whatever goes before it.
    let group = || NewSubmission { priority: -9, ..grouped("a") };
    let turn = store.submit(&group(), at(320)).unwrap();
    store.submit(&group(), at(321)).unwrap();
    assert_eq!(numbers(&mut store, 0), [2, turn.number]);
    claimed(&mut store, turn.run, me);
    assert_eq!(numbers(&mut store, 0), [2, turn.number], "nobody else of the group has a turn");
    sound(&mut store);
}

pub(crate) fn runs_of_a_group_go_one_at_a_time_in_order(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let runs: Vec<_> = (0..4).map(|n| NewSubmission { priority: n, ..grouped("p") }).collect();
    for run in &runs {
        store.submit(run, at(200)).unwrap();
    }
    let free = submission("p");
    let others = grouped("q");
    let may = |store: &mut Box<dyn Store>, run: RunId| store.claim(run, me, at(300)).unwrap();
    for later in &runs[1..] {
        assert_eq!(may(&mut store, later.run), None);
    }
    let first = claimed(&mut store, runs[0].run, me);
    assert_eq!(may(&mut store, runs[1].run), None, "claimed, not over");
    taken(&mut store, &free, me);
    taken(&mut store, &others, me);
    store.release(first.claim, at(301)).unwrap();
    assert_eq!(may(&mut store, runs[1].run), None, "it is its turn again");
    let first = claimed(&mut store, runs[0].run, me);
    let owner = begun(&mut store, &first, &[]);
    assert_eq!(may(&mut store, runs[1].run), None, "running");
    ended(&mut store, owner, 0, RunState::Failed);
    store.request_cancel(runs[2].run, false, at(310)).unwrap();
    assert_eq!(may(&mut store, runs[3].run), None);
    let second = claimed(&mut store, runs[1].run, me);
    store.fail_submission(second.claim, "no such step", at(320)).unwrap();
    assert!(may(&mut store, runs[3].run).is_some());
    sound(&mut store);
}

pub(crate) fn a_request_to_cancel_meets_every_state(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let queued = submission("p");
    store.submit(&queued, at(200)).unwrap();
    assert!(store.request_cancel(queued.run, false, at(210)).unwrap());
    let cancelled = look(&mut store, queued.run);
    assert_eq!((cancelled.state, cancelled.ended), (SubmissionState::Cancelled, Some(at(210))));
    assert!(cancelled.reason.is_some() && cancelled.run_state.is_none());
    assert!(!store.request_cancel(queued.run, true, at(211)).unwrap());
    assert_eq!(look(&mut store, queued.run), cancelled);

    // Claimed: whoever has it is told, and its run begins with the request on record.
    let run = submission("p");
    let claim = taken(&mut store, &run, me);
    assert!(store.request_cancel(run.run, false, at(220)).unwrap());
    assert_eq!(store.cancel_requests(&[queued.run, run.run]).unwrap(), [(run.run, "graceful".to_owned())]);
    assert!(store.request_cancel(run.run, true, at(221)).unwrap());
    assert!(store.request_cancel(run.run, false, at(222)).unwrap());
    let found = look(&mut store, run.run);
    assert_eq!((found.state, found.cancel.as_deref()), (SubmissionState::Claimed, Some("now")));
    let owner = begun(&mut store, &claim, &["a"]);
    let record = store.run(&RunRef::Prefix(run.run.to_string())).unwrap().unwrap();
    assert_eq!((record.cancel.as_deref(), record.state), (Some("now"), RunState::Running));
    assert_eq!(store.cancel_requests(&[run.run]).unwrap(), [(run.run, "now".to_owned())]);
    let kinds: Vec<String> = store.events(run.run, 0).unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["run_created", "cancel_requested"]);
    ended(&mut store, owner, 1, RunState::Cancelled);
    assert!(store.cancel_requests(&[run.run]).unwrap().is_empty());
    assert!(!store.request_cancel(run.run, true, at(500)).unwrap());
    assert_eq!(look(&mut store, run.run).state, SubmissionState::Done);

    let run = submission("p");
    let claim = taken(&mut store, &run, me);
    let owner = begun(&mut store, &claim, &[]);
    assert!(store.cancel_requests(&[run.run]).unwrap().is_empty());
    assert!(store.request_cancel(run.run, false, at(230)).unwrap());
    assert_eq!(store.cancel_requests(&[run.run, RunId(uuid())]).unwrap(), [(run.run, "graceful".to_owned())]);
    assert_eq!(look(&mut store, run.run).cancel.as_deref(), Some("graceful"));
    ended(&mut store, owner, 0, RunState::Cancelled);
    sound(&mut store);
}

pub(crate) fn a_cancelled_claim_is_never_queued_again(backend: &dyn Backend) {
    let mut store = open(backend);
    let me = registered(&mut store);
    let (released, buried) = (submission("p"), submission("p"));
    let claim = taken(&mut store, &released, me);
    taken(&mut store, &buried, me);
    for run in [released.run, buried.run] {
        assert!(store.request_cancel(run, false, at(220)).unwrap());
    }
    assert!(store.release(claim.claim, at(230)).unwrap());
    assert_eq!(look(&mut store, released.run).state, SubmissionState::Cancelled);
    assert!(store.bury(me, false).unwrap());
    assert_eq!(look(&mut store, buried.run).state, SubmissionState::Cancelled);
    assert!(store.live_submissions(9).unwrap().is_empty());
    sound(&mut store);
}

pub(crate) fn a_run_is_begun_only_with_its_own_claim(backend: &dyn Backend) {
    let mut store = open(backend);
    let (me, you) = (registered(&mut store), registered(&mut store));
    let (run, other) = (submission("p"), submission("p"));
    let claim = taken(&mut store, &run, me);
    let foreign = taken(&mut store, &other, me);
    let before = backend.dump();
    let mut wrong = run_of(&claim, &["a"]);
    for change in [
        |claim: &mut runstone_core::service::record::Claim| claim.claims += 1,
        |claim: &mut runstone_core::service::record::Claim| claim.claims -= 1,
    ] {
        wrong.claim = Some(claim.claim);
        change(wrong.claim.as_mut().unwrap());
        assert!(matches!(store.create_run(&wrong), Err(StoreError::LostOwnership { .. })));
    }
    wrong.claim = Some(runstone_core::service::record::Claim { scheduler: you, ..claim.claim });
    assert!(matches!(store.create_run(&wrong), Err(StoreError::LostOwnership { .. })));
    wrong.claim = Some(foreign.claim);
    assert!(matches!(store.create_run(&wrong), Err(StoreError::Database { .. })), "a claim on another run");
    assert_eq!(backend.dump(), before);
    begun(&mut store, &claim, &["a"]);
    assert!(matches!(store.create_run(&run_of(&claim, &["a"])), Err(StoreError::LostOwnership { .. })), "twice");
    sound(&mut store);
}
