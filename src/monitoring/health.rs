//! Experimenter's rules of an experiment's health, from its counts and its funnel. Pure; it asks for
//! nothing.
//!
//! Source: the rules of mozilla/experimenter, with thresholds as Experimenter has them.

mod rules;
mod split;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use weir_plan::Timestamp;

use super::figures::{Experiment, ExperimentCounts, FunnelRow};

pub use rules::{conflict_slugs, top_reason};
pub use split::{deviation, p_value};

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Somebody should look.
    Alert,
    /// The rule only tells a number or a name; another one judges it.
    Informs,
    /// The rule is not for this experiment, or what it needs is not known.
    NotApplicable,
}

/// A rule, judged.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Judged {
    /// The rule's name.
    pub rule: &'static str,
    /// What it found: a number, a name, or nothing.
    pub value: Value,
    /// The value, or values, at which it alerts.
    pub threshold: Value,
    /// What it says.
    pub verdict: Verdict,
    /// What it was computed from.
    pub inputs: Value,
}

/// The health of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// The slug.
    pub experiment: String,
    /// Whether any rule alerts.
    pub verdict: Verdict,
    /// Every rule.
    pub rules: Vec<Judged>,
}

/// Judges an experiment at `now`; one without counts has none.
pub fn health(
    experiment: &Experiment,
    counts: Option<&ExperimentCounts>,
    funnel: Option<&[FunnelRow]>,
    now: Timestamp,
) -> Health {
    let none = ExperimentCounts::default();
    let counts = counts.unwrap_or(&none);
    let mut rules = rules::of_unenrollment(counts);
    rules.extend(split::of_split(experiment, counts));
    rules.push(rules::low_enrollment(experiment, counts, now));
    rules.push(rules::feature_conflict(funnel));
    rules.push(rules::of_reasons(counts));
    let alerts = rules.iter().any(|rule| rule.verdict == Verdict::Alert);
    let verdict = if alerts { Verdict::Alert } else { Verdict::Ok };
    Health { experiment: experiment.slug.to_string(), verdict, rules }
}

impl Judged {
    fn informs(rule: &'static str, value: impl Into<Value>, inputs: Value) -> Self {
        Self { rule, value: value.into(), threshold: Value::Null, verdict: Verdict::Informs, inputs }
    }

    fn of(rule: &'static str, value: impl Into<Value>, threshold: Value, alerts: bool, inputs: Value) -> Self {
        let verdict = if alerts { Verdict::Alert } else { Verdict::Ok };
        Self { rule, value: value.into(), threshold, verdict, inputs }
    }

    /// A rule that is not for this experiment, and why.
    fn not_applicable(rule: &'static str, threshold: Value, why: &str) -> Self {
        let inputs = json!({ "why": why });
        Self { rule, value: Value::Null, threshold, verdict: Verdict::NotApplicable, inputs }
    }
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts of clients are far below 2^53")]
const fn real(count: i64) -> f64 {
    count as f64
}
