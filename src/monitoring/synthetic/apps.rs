//! The applications that report, and which of their datasets a recipe's clients report to.
//!
//! Names as in mozilla/bigquery-etl, `sql_generators/experiment_monitoring/templates/templating.yaml`.

pub use weir_plan::descriptor::experiments::APPS;

use super::draw::Draw;

/// Position in [`APPS`].
pub(super) type App = usize;

/// Legacy pings of the desktop browser.
pub(super) const TELEMETRY: App = 6;
/// Glean pings of the desktop browser: the same events as [`TELEMETRY`], told a second time.
pub(super) const FIREFOX_DESKTOP: App = 7;

/// The v1 set of applications: the union view and the daily tables leave out `firefox_desktop`,
/// whose clients `telemetry` already counts. (Upstream's v2 set leaves out `telemetry` instead.)
pub(super) fn in_v1(app: App) -> bool {
    app != FIREFOX_DESKTOP
}

/// Applications with search counts: no servers, and the desktop through its legacy pings.
pub(super) const SEARCH: [App; 13] = [TELEMETRY, 1, 2, 0, 3, 4, 5, 8, 9, 10, 11, 12, 13];

/// Applications with crash pings: no iOS, no servers, and the desktop through Glean.
pub(super) const CRASH: [App; 8] = [0, 1, 2, FIREFOX_DESKTOP, 8, 9, 10, 11];

/// Release channels, in the spelling of `normalized_channel`.
pub(super) const CHANNELS: [&str; 6] = ["release", "beta", "nightly", "esr", "aurora", "Other"];

/// Share of events of each channel.
pub(super) const CHANNEL_WEIGHTS: [f64; 6] = [0.70, 0.15, 0.10, 0.02, 0.01, 0.02];

/// A product that recipes are made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    /// Name in Experimenter.
    pub(super) name: &'static str,
    /// Share of recipes.
    pub(super) weight: f64,
    /// Application that each of [`CHANNELS`] reports to.
    pub(super) apps: [App; 6],
}

/// Products; the shares are a guess.
pub(super) const PRODUCTS: [Product; 10] = [
    Product { name: "firefox_desktop", weight: 0.60, apps: [TELEMETRY; 6] },
    Product { name: "fenix", weight: 0.17, apps: [2, 0, 1, 2, 2, 2] },
    Product { name: "firefox_ios", weight: 0.10, apps: [3, 4, 5, 3, 3, 3] },
    Product { name: "focus_android", weight: 0.03, apps: [9, 11, 10, 9, 9, 9] },
    Product { name: "klar_android", weight: 0.01, apps: [8; 6] },
    Product { name: "focus_ios", weight: 0.02, apps: [13; 6] },
    Product { name: "klar_ios", weight: 0.01, apps: [12; 6] },
    Product { name: "monitor_web", weight: 0.02, apps: [14; 6] },
    Product { name: "accounts", weight: 0.02, apps: [15; 6] },
    Product { name: "subscription_platform", weight: 0.02, apps: [17; 6] },
];

/// Experimenter's own recipes report here.
pub(super) const EXPERIMENTER: Product = Product { name: "experimenter", weight: 0.0, apps: [16; 6] };

/// Product of the `index`-th recipe: the first ones go round, so that no product is without.
pub(super) fn product(index: usize, draw: &mut Draw) -> Product {
    match PRODUCTS.get(index / 4) {
        Some(product) if index.is_multiple_of(4) => *product,
        _ if index == 2 => EXPERIMENTER,
        _ => PRODUCTS[draw.weighted(&PRODUCTS.map(|product| product.weight))],
    }
}

/// The kind of event that an application reports.
pub(super) fn event_type(app: App, legacy: bool) -> EventType {
    match app {
        TELEMETRY if legacy => EventType::PreferenceStudy,
        TELEMETRY => EventType::NimbusExperiment,
        app if APPS[app].ends_with("_cirrus") => EventType::CirrusEvents,
        _ => EventType::NimbusEvents,
    }
}

/// Values of the column `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventType {
    /// Glean clients.
    NimbusEvents,
    /// Legacy desktop pings.
    NimbusExperiment,
    /// Legacy desktop pings, Normandy.
    PreferenceStudy,
    /// Servers.
    CirrusEvents,
}

impl EventType {
    /// Spellings, in the order of the variants.
    pub(super) const NAMES: [&str; 4] = ["nimbus_events", "nimbus_experiment", "preference_study", "cirrus_events"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_is_reported_to() {
        let mut reached: Vec<App> = PRODUCTS.iter().chain([&EXPERIMENTER]).flat_map(|product| product.apps).collect();
        reached.push(FIREFOX_DESKTOP);
        reached.sort_unstable();
        reached.dedup();
        assert_eq!(reached, (0..APPS.len()).collect::<Vec<_>>());
    }

    #[test]
    fn shares_add_up_to_one() {
        let products: f64 = PRODUCTS.iter().map(|product| product.weight).sum();
        let channels: f64 = CHANNEL_WEIGHTS.iter().sum();
        assert!((products - 1.0).abs() < 1e-9 && (channels - 1.0).abs() < 1e-9);
    }

    #[test]
    fn named_positions_are_right() {
        assert_eq!(APPS[TELEMETRY], "telemetry");
        assert_eq!(APPS[FIREFOX_DESKTOP], "firefox_desktop");
        assert_eq!(
            CRASH.map(|app| APPS[app]).iter().filter(|app| app.contains("ios") || app.contains("cirrus")).count(),
            0
        );
    }
}
