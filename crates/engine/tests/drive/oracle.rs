//! What must be true of a project whose runs are all over, whatever happened to their owners.

use runstone_core::record::{AttemptKind, AttemptState, RunState, TaskState};
use runstone_core::store::RunFilter;
use runstone_exec::objects::Presence;

use crate::drive;
use crate::project::Project;

/// Everything that holds for every project: the record agrees with itself, nothing is left alive, no task succeeded
/// twice, every attempt has one end with a cause, and all bytes that the record names are there and right.
pub(crate) fn check(project: &Project) {
    let (opened, mut store) = drive::open(&project.path(""));
    let site = drive::site(opened, &project.path(""));
    assert_eq!(store.check().unwrap(), [""; 0]);
    for run in store.runs(&RunFilter::default()).unwrap() {
        assert_ne!(run.state, RunState::Running, "run #{} has ended", run.number);
        let tasks = store.tasks(run.id).unwrap();
        assert!(tasks.iter().all(|task| task.state.is_terminal()), "{tasks:?}");
        for task in &tasks {
            let attempts = store.attempts(run.id, Some(task.index)).unwrap();
            for attempt in &attempts {
                let over = matches!(attempt.state, AttemptState::Succeeded | AttemptState::Failed);
                assert!(over && attempt.end.is_some(), "{attempt:?}");
            }
            let ran = attempts.iter().filter(|attempt| attempt.kind != AttemptKind::Reuse);
            let successes = ran.filter(|attempt| attempt.state == AttemptState::Succeeded).count();
            assert_eq!(successes, usize::from(task.state == TaskState::Succeeded), "{task:?}: {attempts:?}");
        }
    }
    for object in store.objects().unwrap() {
        assert_eq!(site.objects.verify(object.hash).unwrap(), Presence::Present, "{object:?}");
    }
}
