//! One suite that holds every database to the same behaviour: [`conformance!`] lists them, a test file for each database
//! brings a [`Backend`] and runs them all.
//!
//! What the contract in `runstone_core::store` leaves to be said, and the scenarios check:
//!
//! - A change that contradicts itself (a failed attempt with outputs, a metric that is no finite number, …) is an
//!   error, and the whole batch changes nothing. A change that merely does not fit the record is `Stale`, and changes
//!   nothing, while the rest of the batch is applied. A run that is over (or was never on record) takes no changes:
//!   `Stale` (`LostOwnership`).
//! - `AddTasks` continues the indices of its run without a gap. Without tasks it is `Done` and leaves no event.
//! - `Start` is judged in this order: the task's state and number, then its pins, then the claim. A pin on something
//!   that is not on record in the project, or on an output the standing attempt of a task (in `succeeded` or `reused`)
//!   did not publish, is `Stale`. A pin on an output with several cells makes one edge for each.
//! - `Running` is `Done` and changes nothing where the attempt runs or has ended already, and `Stale` where that attempt
//!   was never put on record.
//! - A tainted result is never reusable and moves no head, whatever the change says.
//! - `Settle` as `reused` expects its source to be reusable. Without a node nothing but the task changes. With a node, the
//!   new attempt moves heads as any other publication, has kind `reuse`, counts as an attempt of its task, ended at once with cause `exit` and no exit code, names the
//!   attempt that did the work (never another reuse), and is itself found by `lookup`; metrics and metadata asked
//!   of it are those of the attempt that did the work.
//! - `EndRun` expects every task to be in a terminal state.
//! - `take_over` with `reopen` resets tasks only where the run was over, and then forgets the request to cancel; attempts
//!   and their numbers go on. A running run keeps everything but its epoch.
//! - `request_cancel` never turns `now` back into `graceful`, and leaves an event only where it changed something.
//! - `resolve` by number or hash prefers, for each subset, publications that are not tainted, then the newest.
//! - `lineage`: a depth of n follows n attempts from the start; with 0 there are only the starts. Down follows only
//!   attempts that succeeded. Every edge has both its ends in the answer. `partial` exactly when something was left out.
//! - `objects` are those in the content stores that runs of the project name, each once.

pub(crate) mod driver;

pub(crate) mod claims;
pub(crate) mod datasets;
pub(crate) mod life;
pub(crate) mod lineage;
pub(crate) mod model;
pub(crate) mod reports;
pub(crate) mod reuse;
pub(crate) mod runs;
pub(crate) mod trouble;

use runstone_core::store::Store;
use runstone_store::ProjectIdentity;

/// A fresh, empty database. Dropping it removes it.
pub(crate) trait Backend {
    /// Another connection to it, for a project.
    fn open(&self, project: &ProjectIdentity) -> Box<dyn Store>;

    /// Every row of every table as one line, in an order that depends on nothing but the rows.
    fn dump(&self) -> Vec<String>;

    /// Runs a statement with every guard off that can be: triggers, foreign keys, checks. False where one still refuses it.
    fn damage(&self, sql: &str) -> bool;
}

/// One test for each scenario, on databases that `$fresh()` makes.
#[macro_export]
macro_rules! conformance {
    ($fresh:expr) => {
        $crate::conformance! { @ $fresh;
            runs::numbers_grow_within_a_project,
            runs::a_run_is_read_back_as_it_was_given,
            runs::runs_are_found_by_number_prefix_and_age,
            runs::an_ambiguous_prefix_names_its_candidates,
            runs::lists_are_filtered_and_newest_first,
            runs::a_new_owner_ends_the_old_ones_rights,
            runs::a_finished_run_is_reopened_only_on_request,
            runs::a_request_to_cancel_is_seen_and_never_softened,
            runs::two_projects_in_one_database_do_not_see_each_other,
            runs::indices_without_order_are_refused,
            life::a_task_lives_through_a_whole_run,
            life::a_failed_attempt_is_retried_under_the_next_number,
            life::tasks_of_a_foreach_are_added,
            life::what_does_not_fit_is_stale_and_changes_nothing,
            life::a_stale_change_does_not_sink_its_batch,
            life::a_run_that_is_over_takes_no_changes,
            life::a_run_ends_only_when_every_task_has,
            life::changes_that_contradict_themselves_are_refused_whole,
            life::a_late_notice_that_an_attempt_runs_changes_nothing,
            life::a_big_batch_is_one,
            claims::one_live_attempt_holds_a_fingerprint,
            claims::a_claim_is_free_again_after_success_and_failure,
            claims::without_a_claim_nobody_waits,
            claims::claims_are_settled_in_the_order_of_a_batch,
            reuse::a_reuse_without_a_node_points_at_the_earlier_attempt,
            reuse::a_reuse_with_a_node_has_its_own_pins_and_names,
            reuse::a_reuse_may_be_asked_under_another_fingerprint,
            reuse::only_clean_results_are_reused,
            reuse::lookup_gives_the_newest_result_with_all_it_needs,
            datasets::the_same_bytes_are_the_same_version,
            datasets::a_tainted_result_is_kept_but_never_latest,
            datasets::versions_are_found_by_number_hash_and_run,
            datasets::every_cell_has_its_own_head,
            datasets::names_are_listed_in_the_order_of_bytes,
            datasets::publications_are_listed_newest_first,
            datasets::objects_are_named_once_and_can_be_given_up,
            lineage::pins_point_at_publications_of_the_same_batch,
            lineage::pins_on_nothing_are_stale,
            lineage::a_diamond_is_walked_both_ways,
            lineage::limits_cut_and_say_so,
            lineage::a_long_chain_is_walked_to_its_end,
            lineage::bytes_that_come_back_make_no_cycle,
            lineage::attempts_that_failed_made_nothing,
            lineage::the_nearest_attempt_is_the_newest_success,
            reports::metrics_and_metadata_are_read_back,
            reports::every_way_to_end_is_kept,
            reports::any_text_is_kept,
            reports::events_tell_the_whole_story,
            trouble::writers_on_several_connections_lose_nothing,
            trouble::a_reader_sees_whole_batches_only,
            trouble::planted_damage_is_found,
            model::random_changes_do_what_the_model_does,
        }
    };
    (@ $fresh:expr; $($module:ident::$name:ident,)*) => {
        $(#[test]
        fn $name() {
            conformance::$module::$name(&$fresh());
        })*
    };
}
