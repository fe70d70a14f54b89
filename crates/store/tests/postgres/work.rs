//! A writer that notices when anything it was promised is lost or done twice.

use runstone_core::attempt::Cause;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{AttemptEnd, AttemptKind, ContentKind, RunEnvironment, RunId, RunState, TaskState, Trust};
use runstone_core::store::{
    Applied, Change, FinishAttempt, NewMaterialization, NewRun, NewTask, Ownership, Pin, PinSource, StartAttempt, Store,
};
use runstone_core::time::Timestamp;
use runstone_store::ProjectIdentity;
use uuid::Uuid;

pub(crate) fn project() -> ProjectIdentity {
    ProjectIdentity { uuid: Uuid::from_u128(0xabc), name: "hello".to_owned() }
}

pub(crate) fn new_run(tasks: u32) -> NewRun {
    let task = |index| NewTask { index, step: format!("s{index}"), cell: String::new() };
    NewRun {
        id: RunId(Uuid::now_v7()),
        pipeline: "p".to_owned(),
        definition: "steps: {}\n".to_owned(),
        definition_path: "p.yaml".to_owned(),
        params: serde_json::json!({}),
        request: serde_json::json!({}),
        trigger: "manual".to_owned(),
        created: Timestamp(1),
        store_marker: Uuid::from_u128(1),
        partition: None,
        claim: None,
        environment: RunEnvironment::default(),
        tasks: (0..tasks).map(task).collect(),
    }
}

/// Starts the task, which reads what the task before it published.
pub(crate) fn start(task: u32, asks: &str) -> Change {
    let pin = |before| Pin {
        slot: "in".to_owned(),
        source: PinSource::Task { task: before, output: "out".to_owned() },
        trust: Trust::Verified,
    };
    Change::Start(StartAttempt {
        task,
        number: 1,
        uuid: Uuid::now_v7(),
        kind: AttemptKind::Run,
        fingerprint: Fingerprint::from_bytes(*ContentHash::of(asks.as_bytes()).as_bytes()),
        derivation: asks.as_bytes().to_vec(),
        pins: task.checked_sub(1).map(pin).into_iter().collect(),
        keeps: Vec::new(),
        claim: true,
        pool: None,
    })
}

/// Publishes a version of dataset `p/<name>`.
pub(crate) fn finish(task: u32, name: &str, bytes: &str) -> Change {
    let output = NewMaterialization {
        output: "out".to_owned(),
        dataset: format!("p/{name}"),
        subset: String::new(),
        hash: ContentHash::of(bytes.as_bytes()),
        kind: ContentKind::File,
        size: 1,
        files: 1,
        rows: None,
        file_name: "out".to_owned(),
        profile: None,
    };
    let end = AttemptEnd { exit_code: Some(0), ..AttemptEnd::new(Timestamp(1), Timestamp(2), Cause::Exit) };
    Change::Finish(Box::new(FinishAttempt {
        task,
        number: 1,
        succeeded: true,
        end,
        outputs: vec![output],
        metrics: Vec::new(),
        metadata: None,
        next: TaskState::Succeeded,
        reason: None,
        reusable: true,
    }))
}

/// A chain of tasks, each commit of which must take effect exactly once: were one lost, the next would be stale, and were
/// one applied twice, it would be stale itself.
pub(crate) fn chain(store: &mut dyn Store, tasks: u32, mut between: impl FnMut(u32)) {
    let run = new_run(tasks);
    let number = store.create_run(&run).unwrap();
    let owner = Ownership { run: run.id, epoch: 1 };
    for task in 0..tasks {
        between(task);
        let begun = store.commit(owner, Timestamp(2), &[start(task, &format!("{number} {task}"))]).unwrap();
        assert!(matches!(begun[..], [Applied::Started { .. }]), "{begun:?}");
        let name = format!("d{task}");
        let ended = store.commit(owner, Timestamp(3), &[finish(task, &name, &format!("{number}"))]).unwrap();
        assert!(matches!(&ended[..], [Applied::Published { materializations, .. }] if materializations.len() == 1));
    }
    let end = Change::EndRun { state: RunState::Succeeded, reason: None };
    assert_eq!(store.commit(owner, Timestamp(4), &[end]).unwrap(), [Applied::Done]);
    let kinds = |kind: &str, store: &mut dyn Store| {
        store.events(run.id, 0).unwrap().iter().filter(|event| event.kind == kind).count()
    };
    for (kind, count) in
        [("run_created", 1), ("attempt_assigned", tasks), ("attempt_finished", tasks), ("run_ended", 1)]
    {
        assert_eq!(kinds(kind, store), count as usize, "{kind}");
    }
    assert_eq!(store.attempts(run.id, None).unwrap().len(), tasks as usize);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}
