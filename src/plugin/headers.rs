//! What Grafana says about a request beside its queries: who asks for it, and how fresh it must be.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use weir_plan::CacheControl;

/// The headers that mean something to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// `X-Cache-Skip`: a person pressed "refresh" and wants new data.
    cache_skip: bool,
    /// `FromAlert`: an alert rule is evaluated.
    alert: bool,
    /// The signed-in user, where there is one.
    pub(super) principal: Option<String>,
    /// Labels for the jobs of the request.
    pub(super) labels: BTreeMap<String, String>,
}

/// Headers that become job labels, in lower case, and the labels' keys.
const LABELS: [(&str, &str); 7] = [
    ("x-dashboard-uid", "dashboard_uid"),
    ("x-panel-id", "panel_id"),
    ("x-panel-plugin-id", "panel_plugin_id"),
    ("x-query-group-id", "query_group_id"),
    ("x-grafana-from-expr", "from_expr"),
    ("x-datasource-uid", "datasource_uid"),
    ("x-plugin-id", "plugin_id"),
];

/// Length of a label's value, in characters.
/// Source: <https://cloud.google.com/bigquery/docs/labels-intro#requirements>.
const LABEL_LENGTH: usize = 63;

impl Headers {
    /// Reads headers in any case; those of HTTP arrive with `http_` before them.
    pub(super) fn read(headers: &HashMap<String, String>) -> Self {
        let mut read = Self::default();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let name = name.strip_prefix("http_").unwrap_or(&name);
            match name {
                "x-cache-skip" => read.cache_skip = is_true(value),
                "fromalert" => read.alert = is_true(value),
                "x-grafana-user" => read.principal = Some(value.trim().to_owned()).filter(|user| !user.is_empty()),
                _ => {
                    let label = LABELS.iter().find(|(header, _)| *header == name).map(|(_, label)| *label);
                    if let Some((label, value)) = label.zip(label_value(value)) {
                        read.labels.insert(label.to_owned(), value);
                    }
                }
            }
        }
        read
    }

    /// The same, for the user whom the request's context names, which Grafana itself says.
    pub(super) fn or_user(mut self, user: Option<String>) -> Self {
        self.principal = user.or(self.principal);
        self
    }

    /// Takes from what a query may do with the cache what these headers forbid.
    pub(super) fn restrict(&self, control: &mut CacheControl) {
        control.skip_read |= self.cache_skip;
        if self.alert {
            control.max_stale = Some(Duration::ZERO);
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "1")
}

/// A text in the form of a label's value, unless nothing is left of it.
fn label_value(text: &str) -> Option<String> {
    let value: String = text
        .trim()
        .chars()
        .take(LABEL_LENGTH)
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '_' | '-') => c,
            _ => '_',
        })
        .collect();
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers::read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn headers_become_labels_of_the_form_that_bigquery_takes() {
        let check = |name: &str, value: &str, expected: &[(&str, &str)]| {
            let labels = headers(&[(name, value)]).labels;
            let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(labels, expected, "{name}: {value}");
        };
        check("http_X-Dashboard-Uid", "AbC-1_x", &[("dashboard_uid", "abc-1_x")]);
        check("X-Panel-Id", "12", &[("panel_id", "12")]);
        check("x-panel-plugin-id", "time series/é", &[("panel_plugin_id", "time_series__")]);
        check("X-Grafana-From-Expr", "true", &[("from_expr", "true")]);
        check("X-Plugin-Id", &"a".repeat(70), &[("plugin_id", &"a".repeat(63))]);
        check("X-Datasource-Uid", " ", &[]);
        check("Authorization", "Bearer secret", &[]);
        check("Cookie", "secret", &[]);
    }

    #[test]
    fn the_user_is_the_contexts_or_the_headers() {
        let user =
            |pairs: &[(&str, &str)], user: Option<&str>| headers(pairs).or_user(user.map(str::to_owned)).principal;
        assert_eq!(user(&[], None), None);
        assert_eq!(user(&[], Some("ada")).as_deref(), Some("ada"));
        assert_eq!(user(&[("http_X-Grafana-User", "grace")], Some("ada")).as_deref(), Some("ada"));
        assert_eq!(user(&[("http_X-Grafana-User", "grace")], None).as_deref(), Some("grace"));
        assert_eq!(user(&[("X-Grafana-User", " ")], None), None);
    }

    #[test]
    fn an_alert_is_never_served_stale_and_a_skip_reads_nothing() {
        let restricted = |pairs: &[(&str, &str)]| {
            let mut control = CacheControl { max_stale: Some(Duration::from_mins(1)), ..CacheControl::default() };
            headers(pairs).restrict(&mut control);
            (control.max_stale, control.skip_read)
        };
        let minute = Some(Duration::from_mins(1));
        assert_eq!(restricted(&[]), (minute, false));
        assert_eq!(restricted(&[("FromAlert", "true")]), (Some(Duration::ZERO), false));
        assert_eq!(restricted(&[("X-Cache-Skip", "true")]), (minute, true));
        assert_eq!(restricted(&[("X-Cache-Skip", "false")]), (minute, false));
    }
}
