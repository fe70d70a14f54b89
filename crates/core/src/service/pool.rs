//! Who gets slots of a pool of the whole project.
//!
//! Slots are never counted up and down: what is taken is the sum over the live attempts on record, so that nothing can
//! leak. Whoever asks does so under the lock of the pool's row.
//!
//! Waiters stand in a line: larger priority first, then the pipeline that holds fewer slots, then who waits longer. A
//! task is served only when everything before it in the line would fit too, so that a wide task is not starved by narrow
//! ones, and a narrow one does not wait where there is room for all.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::record::PoolUse;

/// Who has not asked for so long, microseconds, stands in no line until it asks again. Its owner may be
/// dead, and nobody may have room to take its run over while all that they drive stands behind it.
pub const STANDS_FOR_US: u64 = 30_000_000;

/// Whether a task may have its slots now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// It may.
    Granted,
    /// It stands in the line, at this place from 0.
    Waits(usize),
}

/// Puts waiters into the order of their turns.
pub fn line_up(holders: &[PoolUse], waiting: &mut [PoolUse]) {
    let mut held: HashMap<&str, u64> = HashMap::new();
    for holder in holders {
        *held.entry(&holder.pipeline).or_default() += u64::from(holder.slots);
    }
    let held = |one: &PoolUse| held.get(one.pipeline.as_str()).copied().unwrap_or(0);
    waiting.sort_by_cached_key(|one| (Reverse(one.priority), held(one), one.since, one.number, one.task));
}

/// Decides for `me`, which is among `waiting` or is put there. A task that wants more slots than the pool has gets all
/// of them, alone; one of no slots grants nothing at all.
#[must_use]
pub fn grant(slots: u32, holders: &[PoolUse], waiting: &[PoolUse], me: &PoolUse) -> Grant {
    let is_me = |one: &PoolUse| (one.run, one.task) == (me.run, me.task);
    let mut line: Vec<PoolUse> = waiting.iter().filter(|one| !is_me(one)).cloned().collect();
    line.push(me.clone());
    line_up(holders, &mut line);
    let need = |one: &PoolUse| u64::from(one.slots.min(slots));
    let mut taken: u64 = holders.iter().map(need).sum();
    for (place, one) in line.iter().enumerate() {
        taken += need(one);
        if taken > u64::from(slots) || slots == 0 {
            return Grant::Waits(line.iter().position(is_me).unwrap_or(place));
        }
        if is_me(one) {
            break;
        }
    }
    Grant::Granted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunId;
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn one(number: i64, pipeline: &str, slots: u32, priority: i32) -> PoolUse {
        PoolUse {
            run: RunId(Uuid::from_u128(number.unsigned_abs().into())),
            number,
            pipeline: pipeline.to_owned(),
            task: 0,
            name: "step".to_owned(),
            slots,
            priority,
            since: Timestamp(number),
        }
    }

    #[test]
    fn who_waits_longer_goes_first_unless_it_has_more_already() {
        let (early, late) = (one(1, "a", 1, 0), one(2, "b", 1, 0));
        assert_eq!(grant(1, &[], std::slice::from_ref(&early), &late), Grant::Waits(1));
        assert_eq!(grant(1, &[], std::slice::from_ref(&late), &early), Grant::Granted);
        let held = [one(9, "a", 1, 0)];
        assert_eq!(grant(2, &held, std::slice::from_ref(&early), &late), Grant::Granted);
        assert_eq!(grant(2, &held, &[late], &early), Grant::Waits(1));
    }

    #[test]
    fn a_wide_task_is_not_starved_and_a_narrow_one_passes_where_there_is_room() {
        let wide = one(1, "a", 3, 0);
        let narrow = one(2, "b", 1, 0);
        let held = [one(9, "c", 1, 0)];
        assert_eq!(grant(3, &held, std::slice::from_ref(&wide), &narrow), Grant::Waits(1));
        assert_eq!(grant(5, &held, std::slice::from_ref(&wide), &narrow), Grant::Granted);
        let urgent = one(3, "d", 1, 5);
        assert_eq!(grant(3, &held, &[wide, narrow], &urgent), Grant::Granted);
    }

    #[test]
    fn a_task_wider_than_its_pool_runs_alone() {
        assert_eq!(grant(2, &[], &[], &one(1, "a", 7, 0)), Grant::Granted);
        assert_eq!(grant(2, &[one(2, "b", 1, 0)], &[], &one(1, "a", 7, 0)), Grant::Waits(0));
    }

    #[test]
    fn a_pool_without_slots_grants_nothing() {
        assert_eq!(grant(0, &[], &[], &one(1, "a", 1, 0)), Grant::Waits(0));
    }

    proptest! {
        /// Whatever order tasks ask and end in: the pool is never overfull, and once nothing ends any more, whoever heads
        /// the line waits only because it does not fit.
        #[test]
        fn never_overfull_and_never_idle_for_nothing(
            slots in 1..6_u32,
            asks in prop::collection::vec((0..4_usize, 1..8_u32, -1..2_i32, any::<bool>()), 1..30),
        ) {
            let (mut holders, mut waiting): (Vec<PoolUse>, Vec<PoolUse>) = Default::default();
            for (number, (pipeline, width, priority, ends)) in asks.into_iter().enumerate() {
                if ends && !holders.is_empty() {
                    holders.remove(0);
                }
                waiting.push(one(number as i64, ["a", "b", "c", "d"][pipeline], width, priority));
                while let Some(at) =
                    (0..waiting.len()).find(|&at| grant(slots, &holders, &waiting, &waiting[at]) == Grant::Granted)
                {
                    holders.push(waiting.remove(at));
                }
                let taken: u32 = holders.iter().map(|one| one.slots.min(slots)).sum();
                prop_assert!(taken <= slots);
                line_up(&holders, &mut waiting);
                if let Some(first) = waiting.first() {
                    prop_assert!(taken + first.slots.min(slots) > slots);
                }
            }
        }
    }
}
