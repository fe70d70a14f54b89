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
//! - `Start` is judged in this order: the task's state and number, then its pins, then the claim, then the pool. A pin on something
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
//! - `evict` notes what is not given up as stored, whatever it was. What is proof stays proof, whatever else is published with
//!   the same bytes.
//! - A check finds nothing wrong with a run that is over and has no events, nor with one that was reopened since.
//!
//! And of lineage (`runstone_core::lineage::store`):
//!
//! - A closure is what `lineage` meets, without the records. `cut` is the limit that left something out first; of depth and
//!   time, looked at between two levels, depth comes first. A time that is over leaves the start alone.
//! - `edges` are those of every attempt on record, whatever became of it; one that reads a publication under two names is one
//!   edge. `newest` of a horizon is the largest id on record, of any project.
//! - `search`: names and people fit whole; digits of a commit or hash in any case; what is no beginning of a hash fits nothing, and
//!   neither does a bound that is no number. A reuse has the metrics of the attempt that did the work.
//! - `move_tag` is judged in this order: the dataset, the targets, the last move. A target that is given twice counts once. A
//!   tag may be taken away where it leads nowhere: a move like any other. `resolve` by tag gives the newest target of a subset.
//! - `resolve` by time: a publication counts from the time of its batch on, that time included. Heads never go back to a smaller id.
//! - `append_log`: of a wrong size it is false, whatever the leaves. An attempt that did not end in the project, or is in the log
//!   already, is an error, and so are no leaves at all and a record of a strange length: nothing is changed then.
//! - A profile comes with the first publication of a version, or not at all; later publications of the same bytes bring none.
//! - A verdict on an attempt that is not on record in the project is an error.
//!
//! And of the service (`runstone_core::service::store`):
//!
//! - Lists: schedulers by (started, id), backfills by (created, id) and fires by (time, schedule, generation), all newest first;
//!   schedules by (rev, id); pools and pipelines by name; live submissions and the submissions of a backfill by number.
//! - `rev` grows with what is declared or paused, not with the cursor. What changes in one call may share one.
//! - `declare`: a folder has the files below it, not those whose names merely begin like it. A broken file is that of the
//!   pipelines on record with its path; one that was never good leaves nothing on record. A pipeline that another file declares
//!   has moved there. A name that is declared twice is an error. A new generation begins at `now`, or at the cursor where that is
//!   later, and what a trigger has seen is null again.
//! - `decide_fires`: a schedule that is paused or not active makes a decision stale. A decision that contradicts itself (not later
//!   than its cursor, ending before it begins, a row of no times, a pipeline without a definition) is an error, and the whole
//!   batch changes nothing. A key that was used before gives the earlier run, whatever the overlap. `until` of a fire with a run
//!   is its time.
//! - `set_paused`: answers in the order asked, without those that are unknown or in that state. The row of a pause begins just
//!   after the cursor and ends at `now`. Where `missed` gives 0 there is none, and the cursor moves all the same. A schedule that
//!   is not active only changes its state.
//! - A claimed submission whose end was asked for is `cancelled` where it would be queued again; where its run comes to be on
//!   record first, the run takes the request over, with its event.
//! - A claim by the scheduler that has the submission is a new claim: the earlier one is not valid any more.
//! - `take_over` makes the submission of a running run `done`; one that is over stays as it is.
//! - `advance_backfill` ends a backfill at a call that finds nothing to submit and nothing live.
//! - Pools: a task that asks again keeps its place in the line. `Busy` takes it out, `Stale` changes nothing. A pool that is not declared any more grants as before while
//!   somebody uses it.

pub(crate) mod driver;

pub(crate) mod asserted;
pub(crate) mod claims;
pub(crate) mod datasets;
pub(crate) mod life;
pub(crate) mod lineage;
pub(crate) mod lineage_edges;
pub(crate) mod lineage_index;
pub(crate) mod lineage_known;
pub(crate) mod lineage_log;
pub(crate) mod lineage_search;
pub(crate) mod lineage_tags;
pub(crate) mod lineage_versions;
pub(crate) mod model;
pub(crate) mod reports;
pub(crate) mod retention;
pub(crate) mod reuse;
pub(crate) mod runs;
pub(crate) mod service;
pub(crate) mod service_backfills;
pub(crate) mod service_fires;
pub(crate) mod service_pools;
pub(crate) mod service_queue;
pub(crate) mod service_schedulers;
pub(crate) mod service_schedules;
pub(crate) mod service_trouble;
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
            lineage::what_stood_before_is_of_an_earlier_run,
            lineage_tags::a_tag_is_where_it_was_moved_last,
            lineage_tags::whoever_saw_an_earlier_move_is_told,
            lineage_tags::a_tag_is_taken_away_and_comes_back,
            lineage_tags::a_tag_stays_within_its_dataset,
            lineage_tags::a_tag_leads_to_every_cell_that_was_named,
            lineage_tags::tags_are_listed_in_the_order_of_bytes,
            lineage_tags::of_two_who_move_a_tag_at_once_one_is_told,
            lineage_versions::a_time_names_what_latest_named_then,
            lineage_versions::a_partition_names_its_part_of_the_latest,
            lineage_edges::a_closure_is_a_walk_without_its_records,
            lineage_edges::a_walk_names_the_first_limit_that_cut_it,
            lineage_edges::edges_read_page_by_page_are_the_graph,
            lineage_edges::a_horizon_only_moves_forward,
            lineage_index::an_index_answers_as_its_store,
            lineage_search::attempts_are_found_by_each_criterion,
            lineage_search::an_attempt_fits_everything_asked_for,
            lineage_search::a_search_is_read_page_by_page,
            lineage_known::records_are_read_by_id,
            lineage_known::metadata_is_that_of_exactly_these_attempts,
            lineage_known::a_profile_comes_with_a_new_version,
            lineage_known::a_profile_is_replaced_by_what_is_known_now,
            lineage_known::verdicts_are_listed_newest_first,
            lineage_log::every_attempt_that_ended_is_to_be_logged_once,
            lineage_log::leaves_are_appended_and_read_back,
            lineage_log::an_append_that_was_overtaken_changes_nothing,
            lineage_log::what_is_not_to_be_logged_is_refused_whole,
            lineage_log::each_project_has_its_own_log,
            lineage_log::a_log_is_always_signed_in_whole,
            lineage_log::thousands_of_leaves_are_one_append,
            lineage_log::sealers_on_several_connections_leave_no_gap,
            retention::all_that_a_decision_rests_on_is_told,
            retention::only_what_nothing_names_is_given_up,
            retention::what_changed_since_the_decision_stays,
            retention::what_a_run_rests_on_stays_until_it_ends,
            retention::proof_is_never_given_up,
            retention::each_content_store_gives_up_its_own,
            retention::events_of_runs_that_are_over_expire_as_a_whole,
            reports::metrics_and_metadata_are_read_back,
            reports::every_way_to_end_is_kept,
            reports::any_text_is_kept,
            reports::events_tell_the_whole_story,
            trouble::writers_on_several_connections_lose_nothing,
            trouble::a_reader_sees_whole_batches_only,
            trouble::planted_damage_is_found,
            model::random_changes_do_what_the_model_does,
            service_schedulers::a_scheduler_is_read_back_as_it_registered,
            service_schedulers::a_lease_is_renewed_until_its_scheduler_is_gone,
            service_schedulers::only_a_lease_that_ran_out_is_buried_unasked,
            service_schedulers::who_may_not_claim_gets_nothing,
            service_schedulers::of_two_claimants_one_wins,
            service_schedulers::what_a_dead_scheduler_ran_gets_a_new_owner,
            service_schedulers::a_claim_whose_answer_was_lost_is_made_again,
            service_schedulers::a_released_run_goes_to_whoever_claims_it,
            service_schedulers::a_run_that_cannot_begin_is_failed,
            service_schedulers::a_run_taken_over_by_hand_is_nobody_elses,
            service_schedulers::a_record_that_lost_something_gives_no_number_twice,
            service_schedules::what_is_declared_is_read_back,
            service_schedules::declaring_the_same_again_changes_nothing,
            service_schedules::a_new_timing_is_a_new_generation_and_never_fires_the_past,
            service_schedules::what_is_not_declared_any_more_rests_until_it_is_back,
            service_schedules::a_broken_file_keeps_what_it_last_declared,
            service_schedules::a_folder_speaks_for_its_own_files,
            service_schedules::a_pause_is_skipped_unless_it_is_to_be_caught_up,
            service_fires::a_fire_is_decided_once,
            service_fires::a_fire_and_its_run_are_read_back,
            service_fires::a_decision_on_what_changed_is_stale,
            service_fires::decisions_of_one_schedule_follow_each_other,
            service_fires::decisions_that_contradict_themselves_are_refused_whole,
            service_fires::a_fire_meets_a_run_that_is_not_over,
            service_fires::overlap_sees_what_the_same_batch_submitted,
            service_fires::a_key_that_was_used_gives_the_earlier_run,
            service_fires::many_fires_are_one_transaction,
            service_queue::a_submission_is_read_back_as_it_was_given,
            service_queue::submissions_and_runs_share_their_numbers,
            service_queue::submissions_are_found_by_number_and_prefix,
            service_queue::the_same_key_is_the_same_submission,
            service_queue::what_runs_is_fixed_when_it_is_submitted,
            service_queue::a_long_queue_shows_the_first_of_each_pipeline,
            service_queue::runs_of_a_group_go_one_at_a_time_in_order,
            service_queue::a_request_to_cancel_meets_every_state,
            service_queue::a_cancelled_claim_is_never_queued_again,
            service_queue::a_run_is_begun_only_with_its_own_claim,
            service_backfills::a_backfill_runs_its_partitions_in_order_a_few_at_a_time,
            service_backfills::several_schedulers_advance_a_backfill_together,
            service_backfills::a_paused_backfill_submits_nothing,
            service_backfills::a_cancelled_backfill_ends_its_runs,
            service_backfills::backfills_that_make_no_sense_are_refused,
            service_pools::slots_are_shared_by_all_runs,
            service_pools::the_line_has_an_order,
            service_pools::a_task_that_is_decided_leaves_the_line,
            service_pools::the_claim_comes_before_the_pool,
            service_pools::pools_come_and_go,
            service_pools::runs_on_several_connections_never_hold_too_much,
            service_pools::random_use_of_a_pool_never_overfills_it,
            service_trouble::planted_damage_of_the_service_is_found,
            service_trouble::a_pool_that_holds_too_much_is_found,
            asserted::an_event_is_recorded_once,
            asserted::edges_are_found_from_every_side,
            asserted::an_edge_without_a_version_gives_way_to_one_with,
            asserted::what_our_own_attempts_did_is_left_out,
            asserted::names_lead_to_the_dataset_that_bears_them,
            asserted::the_order_of_events_makes_no_difference,
            asserted::a_run_is_told_by_all_its_events,
            asserted::columns_are_those_that_were_said_last,
            asserted::a_large_body_is_an_object_that_is_kept,
            asserted::any_text_is_asserted,
            asserted::many_may_assert_at_the_same_time,
        }
    };
    (@ $fresh:expr; $($module:ident::$name:ident,)*) => {
        $(#[test]
        fn $name() {
            conformance::$module::$name(&$fresh());
        })*
    };
}
