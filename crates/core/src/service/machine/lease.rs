//! The lease: renewed in time, and let go of in time where it cannot be.

use super::{Ask, Command, Machine, Now};
use crate::service::record::SchedulerState;
use crate::service::store::Beat;

#[derive(Debug, Default)]
pub(super) struct Lease {
    /// When the renewal that was granted last was asked for, on the steady clock. None before the registration.
    asked: Option<u64>,
    /// Whether the renewal under way says that this scheduler is draining.
    says_draining: bool,
    /// Whether that is on record.
    is_draining: bool,
    /// Others found it dead.
    gone: bool,
}

impl Machine {
    pub(super) fn registered(&mut self, asked: u64) {
        if self.lease.asked.is_none() {
            self.lease.asked = Some(asked);
        }
    }

    pub(super) fn renewed(&mut self, asked: u64, beat: Beat) {
        if !self.asks.answered(Ask::Renew) {
            return;
        }
        match beat {
            Beat::Gone => self.lease.gone = true,
            Beat::Renewed => {
                self.lease.asked = self.lease.asked.max(Some(asked));
                self.lease.is_draining |= self.lease.says_draining;
            }
        }
    }

    /// From when on nothing may be claimed or driven, on the steady clock.
    pub(super) fn deadline(&self) -> u64 {
        let lasts = self.settings.ttl_us.saturating_sub(self.settings.margin_us);
        self.lease.asked.map_or(u64::MAX, |asked| asked.saturating_add(lasts))
    }

    pub(super) fn has_lost_its_lease(&self, now: Now) -> bool {
        self.lease.gone || now.steady >= self.deadline()
    }

    pub(super) fn is_registered(&self) -> bool {
        self.lease.asked.is_some()
    }

    /// Whether a claim that is made now will be answered well before the lease ends.
    pub(super) fn may_claim(&self, now: Now) -> bool {
        !self.draining && now.steady.saturating_add(self.settings.margin_us) < self.deadline()
    }

    /// Others found this scheduler dead.
    pub(super) fn lose_lease(&mut self) {
        self.lease.gone = true;
    }

    pub(super) fn renew(&mut self, now: Now) {
        if now.steady >= self.renew_at() && self.asks.begin(Ask::Renew, now.steady) {
            self.lease.says_draining = self.draining;
            let state = if self.draining { SchedulerState::Draining } else { SchedulerState::Active };
            self.out.push(Command::Renew { state });
        }
    }

    /// When the lease is to be renewed; at once where it is not on record yet that this scheduler is draining.
    fn renew_at(&self) -> u64 {
        let asked = self.lease.asked.unwrap_or(u64::MAX);
        if self.draining && !self.lease.is_draining { 0 } else { asked.saturating_add(self.settings.renew_us) }
    }

    pub(super) fn wake_for_lease(&self) -> u64 {
        let renew = self.asks.ready_at(Ask::Renew).map_or(u64::MAX, |ready| ready.max(self.renew_at()));
        renew.min(self.deadline())
    }
}
