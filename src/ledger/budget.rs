//! Budgets of a UTC day: what is billed and reserved against what may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir_plan::extent::DAY;
use weir_plan::{Error, Key, Kind, Timestamp};

use super::{Account, Day, Errand, OTHER, day};

/// Bytes that may be billed in a UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// By a data source; `None` is no limit.
    pub daily_bytes: Option<u64>,
    /// For each principal of a data source; `None` is no limit.
    pub daily_bytes_per_principal: Option<u64>,
    /// The share of answers in parts that are audited.
    pub audit_share: Share,
    /// By the audits of a data source; `None` is no limit.
    pub audit_daily_bytes: Option<u64>,
}

/// A share from none to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    millionths: u32,
}

impl Share {
    /// All.
    pub const ALL: Self = Self { millionths: 1_000_000 };

    /// A share of a number from 0 to 1.
    ///
    /// # Errors
    /// `InvalidQuery` for another number.
    pub fn new(share: f64) -> weir_plan::Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid(format!("{share} is not a share; give a number from 0 to 1, such as 0.01")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        let millionths = (share * 1e6).round() as u32;
        Ok(Self { millionths })
    }

    /// Whether it is nothing.
    pub const fn is_none(self) -> bool {
        self.millionths == 0
    }

    /// Whether a key is within the share: always the same for the same key.
    pub fn takes(self, key: &Key) -> bool {
        let digest = key.short_hex();
        let number = digest.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
        (number * 1_000_000) >> 32 < u64::from(self.millionths)
    }
}

/// A budget that a job would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over budget")]
pub struct OverBudget {
    whose: String,
    limit: u64,
    billed: u64,
    reserved: u64,
    estimate: u64,
    renews: Timestamp,
}

impl OverBudget {
    /// Whether an error is about a budget.
    pub fn is_cause_of(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Self>)
    }
}

impl From<OverBudget> for Error {
    fn from(over: OverBudget) -> Self {
        let OverBudget { whose, limit, billed, reserved, estimate, renews } = &over;
        let needed = if *estimate == 0 { "more".to_owned() } else { format!("about {estimate}") };
        let message = format!(
            "the budget of {limit} bytes a day of {whose} is used up: {billed} bytes are billed today, {reserved} \
             reserved by running jobs, and this job needs {needed}; it renews at {renews}"
        );
        Self::new(Kind::TooExpensive, message).with_source(over)
    }
}

/// Who pays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Payer {
    Source(Arc<str>),
    Principal(Arc<str>, Arc<str>),
    Audits(Arc<str>),
}

impl Payer {
    fn name(&self) -> String {
        match self {
            Self::Source(source) => format!("data source {source}"),
            Self::Principal(source, principal) => format!("{principal} at data source {source}"),
            Self::Audits(source) => format!("the audits of data source {source}"),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Spent {
    billed: u64,
    reserved: u64,
}

/// What is spent of a day. A new day begins at nothing.
#[derive(Default)]
pub(super) struct Today {
    day: Day,
    spent: HashMap<Payer, Spent>,
}

/// What a running job may bill.
pub(super) struct Claim {
    day: Day,
    payers: Vec<Payer>,
    estimate: u64,
}

impl Today {
    /// Reserves an estimate; zero where nobody can say, so that the job starts if anything is left.
    pub(super) fn claim(
        &mut self,
        account: &Account,
        errand: Errand,
        estimate: u64,
        budget: &Budget,
        now: Timestamp,
        capacity: usize,
    ) -> Result<Claim, OverBudget> {
        if day(now) > self.day {
            *self = Self { day: day(now), spent: HashMap::new() };
        }
        let source = || Arc::clone(&account.source);
        let mut principal = Payer::Principal(source(), Arc::clone(&account.principal));
        if self.spent.len() >= capacity && !self.spent.contains_key(&principal) {
            principal = Payer::Principal(source(), OTHER.into());
        }
        let mut payers = vec![(Payer::Source(source()), budget.daily_bytes)];
        payers.push(match errand {
            // Audits are nobody's wish.
            Errand::Audit => (Payer::Audits(source()), budget.audit_daily_bytes),
            Errand::Answer | Errand::Refresh | Errand::Listing => (principal, budget.daily_bytes_per_principal),
        });
        for (payer, limit) in &payers {
            let Spent { billed, reserved } = self.spent.get(payer).copied().unwrap_or_default();
            if let Some(limit) =
                limit.filter(|limit| billed.saturating_add(reserved).saturating_add(estimate.max(1)) > *limit)
            {
                let renews = now.floor(DAY).plus(Duration::from_hours(24));
                return Err(OverBudget { whose: payer.name(), limit, billed, reserved, estimate, renews });
            }
        }
        let payers: Vec<Payer> = payers.into_iter().map(|(payer, _)| payer).collect();
        for payer in &payers {
            self.spent.entry(payer.clone()).or_default().reserved += estimate;
        }
        Ok(Claim { day: self.day, payers, estimate })
    }

    /// Puts a bill in place of its reservation; one of a day that is over counts no more.
    pub(super) fn release(&mut self, claim: Claim, billed: u64) {
        if claim.day != self.day {
            return;
        }
        for payer in claim.payers {
            let spent = self.spent.entry(payer).or_default();
            spent.reserved -= claim.estimate;
            spent.billed += billed;
        }
    }
}
