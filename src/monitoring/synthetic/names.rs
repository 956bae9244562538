//! Words that slugs, branches and features are made of.

use super::draw::Draw;

const AREAS: [&str; 16] = [
    "new-tab",
    "urlbar",
    "sidebar",
    "onboarding",
    "pdf",
    "translations",
    "fakespot",
    "password-manager",
    "home",
    "default-browser",
    "tab-groups",
    "toolbar",
    "pocket",
    "credential",
    "cookie-banner",
    "picture-in-picture",
];

const SUBJECTS: [&str; 24] = [
    "sponsored",
    "topsites",
    "weather",
    "suggest",
    "trending",
    "stories",
    "layout",
    "callout",
    "prompt",
    "spotlight",
    "messaging",
    "autofill",
    "addresses",
    "recommendations",
    "shortcuts",
    "history",
    "bookmarks",
    "wallpapers",
    "search",
    "reader",
    "import",
    "sync",
    "notification",
    "checklist",
];

const ENDINGS: [&str; 12] = [
    "placement",
    "redesign",
    "holdback",
    "iteration-2",
    "v2",
    "phase-3",
    "copy-test",
    "latency",
    "eligibility-check",
    "treatment-refresh",
    "early-day-users",
    "existing-users",
];

const FEATURES: [&str; 14] = [
    "newtabSponsoredContent",
    "urlbar",
    "sidebar",
    "aboutwelcome",
    "pdfjs",
    "translations",
    "shopping2023",
    "glean",
    "messaging",
    "juno-onboarding",
    "homescreen",
    "tabGroups",
    "search",
    "cookieBanners",
];

const COLOURS: [&str; 6] = ["blue", "green", "large", "compact", "top-right", "with-image"];

/// A slug of 20 to 80 characters. It may repeat; the caller draws again.
pub(super) fn slug(draw: &mut Draw, is_rollout: bool) -> String {
    let length = 20 + draw.below(41);
    let mut slug = String::from(AREAS[draw.below(AREAS.len())]);
    while slug.len() < length.saturating_sub(10) {
        slug.push('-');
        slug.push_str(SUBJECTS[draw.below(SUBJECTS.len())]);
    }
    slug.push('-');
    slug.push_str(if is_rollout { "rollout" } else { ENDINGS[draw.below(ENDINGS.len())] });
    while slug.len() < 20 || draw.chance(0.1) && slug.len() < 70 {
        slug.push('-');
        slug.push_str(&(100 + draw.below(50)).to_string());
    }
    slug
}

/// Slugs of `count` branches, all different.
pub(super) fn branches(count: usize, draw: &mut Draw) -> Vec<String> {
    let mut colours = COLOURS;
    draw.shuffle(&mut colours);
    let style = draw.below(3);
    (0..count)
        .map(|position| match (position, style) {
            (0, _) => "control".to_owned(),
            (1, 0) if count == 2 => "treatment".to_owned(),
            (_, 0) => format!("treatment-{}", ["a", "b", "c", "d", "e"][(position - 1) % 5]),
            (_, 1) => format!("treatment-{}", colours[position % colours.len()]),
            _ => colours[position % colours.len()].to_owned(),
        })
        .collect()
}

/// Slug of a rollout's only branch.
pub(super) fn rollout_branch(draw: &mut Draw) -> &'static str {
    ["control", "treatment", "rollout"][draw.below(3)]
}

/// One or two feature ids.
pub(super) fn features(draw: &mut Draw) -> Vec<&'static str> {
    let first = draw.below(FEATURES.len());
    let second = (first + 1 + draw.below(FEATURES.len() - 1)) % FEATURES.len();
    if draw.chance(0.3) { vec![FEATURES[first], FEATURES[second]] } else { vec![FEATURES[first]] }
}
