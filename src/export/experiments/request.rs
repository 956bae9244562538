//! Parameters of requests for experiments. It knows no rows.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use serde_json::Value;
use weir_plan::{Error, Result, Timestamp};

use super::super::fields::Fields;
use super::super::format::Format;
use crate::monitoring::figures::{By, Experiment, Granularity, SeriesQuery};
use crate::nearest::hint;

/// Experiments of a page where the request does not say.
const PAGE: usize = 100;

/// The most experiments of a page.
const LARGEST_PAGE: usize = 1000;

/// Parameters that every route takes.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) source: Option<String>,
    pub(super) format: Option<Format>,
}

impl Common {
    fn take(fields: &mut Fields) -> Result<Self> {
        Ok(Self { source: fields.text("source")?, format: fields.parsed("format", Format::parse)? })
    }

    /// The parameters of a route that takes no others.
    pub(super) fn of(text: Option<&str>) -> Result<Self> {
        Self::take(&mut Fields::from_query_string(text.unwrap_or_default(), &["source", "format"])?)
    }
}

/// Which experiments are listed.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) common: Common,
    pub(super) status: Option<String>,
    pub(super) app: Option<String>,
    pub(super) active: Option<bool>,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Listing {
    pub(super) fn of(text: Option<&str>) -> Result<Self> {
        const KNOWN: [&str; 7] = ["source", "format", "status", "app", "active", "offset", "limit"];
        let mut fields = Fields::from_query_string(text.unwrap_or_default(), &KNOWN)?;
        let limit = fields.parsed("limit", number)?.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(fields.wrong("limit", format!("{limit} is not between 1 and {LARGEST_PAGE}")));
        }
        Ok(Self {
            common: Common::take(&mut fields)?,
            status: fields.text("status")?,
            app: fields.text("app")?,
            active: fields.parsed("active", truth)?,
            offset: fields.parsed("offset", number)?.unwrap_or_default(),
            limit,
        })
    }

    /// Whether an experiment is asked for; texts are compared in any case.
    pub(super) fn takes(&self, experiment: &Experiment, now: Timestamp) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        same(&self.status, &experiment.status)
            && same(&self.app, &experiment.app_name)
            && self.active.is_none_or(|active| experiment.is_active(now) == active)
    }

    /// The query string of the next page.
    pub(super) fn next(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                text.append_pair(name, value);
            }
        };
        add("source", self.common.source.as_deref());
        add("format", self.common.format.map(Format::name));
        add("status", self.status.as_deref());
        add("app", self.app.as_deref());
        add("active", self.active.map(|active| if active { "true" } else { "false" }));
        add("limit", Some(&self.limit.to_string()));
        add("offset", Some(&self.offset.saturating_add(self.limit).to_string()));
        text.finish()
    }
}

/// Parameters of routes for many experiments.
#[derive(Debug)]
pub(super) struct Many {
    pub(super) common: Common,
    /// Slugs; `None` means the active ones.
    pub(super) experiments: Option<Vec<String>>,
}

impl Many {
    pub(super) fn of(text: Option<&str>) -> Result<Self> {
        let known = ["source", "format", "experiments"];
        let mut fields = Fields::from_query_string(text.unwrap_or_default(), &known)?;
        Ok(Self { common: Common::take(&mut fields)?, experiments: slugs(&mut fields)? })
    }
}

/// Parameters of series besides the dataset, which is in the path.
#[derive(Debug)]
pub(super) struct OfSeries {
    pub(super) common: Common,
    pub(super) query: SeriesQuery,
}

impl OfSeries {
    /// Reads a query string; `experiments` is among its fields where the path names none.
    pub(super) fn of(text: Option<&str>, dataset: &str, slug: Option<&str>, now: Timestamp) -> Result<Self> {
        let fields = Fields::from_query_string(text.unwrap_or_default(), Self::known(slug))?;
        Self::decode(fields, dataset, slug, now)
    }

    /// Reads a body.
    pub(super) fn of_body(body: &[u8], dataset: &str, now: Timestamp) -> Result<Self> {
        Self::decode(Fields::from_json(body, Self::known(None))?, dataset, None, now)
    }

    const fn known(slug: Option<&str>) -> &'static [&'static str] {
        const ONE: [&str; 7] = ["source", "format", "by", "granularity", "from", "to", "cumulative"];
        const MANY: [&str; 8] = ["source", "format", "by", "granularity", "from", "to", "cumulative", "experiments"];
        if slug.is_some() { &ONE } else { &MANY }
    }

    fn decode(mut fields: Fields, dataset: &str, slug: Option<&str>, now: Timestamp) -> Result<Self> {
        let granularity = |text: &str| match text {
            "auto" => Ok(None),
            text => text.parse::<Granularity>().map(Some).map_err(|error| error.context("not auto, and")),
        };
        let experiments = match slug {
            Some(slug) => Some(vec![slug.to_owned()]),
            None => slugs(&mut fields)?,
        };
        let query = SeriesQuery {
            dataset: dataset.to_owned(),
            experiments,
            by: fields.parsed("by", by)?.unwrap_or_default(),
            granularity: fields.parsed("granularity", granularity)?.flatten(),
            from: fields.parsed("from", |text| Timestamp::parse(text, now))?,
            to: fields.parsed("to", |text| Timestamp::parse(text, now))?,
            cumulative: fields.parsed("cumulative", truth)?,
        };
        Ok(Self { common: Common::take(&mut fields)?, query })
    }
}

/// `total`, `branch`, a split, or `branch` and a split.
fn by(text: &str) -> Result<By> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    match *names {
        ["total"] => Ok(By::Total),
        ["branch"] => Ok(By::Branch),
        [split] if !split.is_empty() => Ok(By::Split(split.to_owned())),
        ["branch", split] | [split, "branch"] if !split.is_empty() && split != "branch" => {
            Ok(By::BranchAndSplit(split.to_owned()))
        }
        _ => {
            Err(Error::invalid(format!("{text:?} is not total, branch, a split such as event, or branch and a split")))
        }
    }
}

/// Slugs, separated by commas or in an array.
fn slugs(fields: &mut Fields) -> Result<Option<Vec<String>>> {
    let wrong = |fields: &Fields| fields.wrong("experiments", "give slugs, separated by commas or in an array");
    let slugs: Vec<String> = match fields.value("experiments") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.split(',').map(|slug| slug.trim().to_owned()).collect(),
        Some(Value::Array(slugs)) => {
            let texts = slugs.iter().map(|slug| slug.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| wrong(fields))?
        }
        Some(_) => return Err(wrong(fields)),
    };
    if slugs.is_empty() || slugs.iter().any(String::is_empty) {
        return Err(wrong(fields));
    }
    Ok(Some(slugs))
}

fn truth(text: &str) -> Result<bool> {
    text.parse().map_err(|_| Error::invalid(format!("{text:?} is neither true nor false")))
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::invalid(format!("{text:?} is not a number")))
}

/// The names in a path.
///
/// # Errors
/// `InvalidQuery` for bytes that are no text.
pub(super) fn names<T>(path: std::result::Result<Path<T>, PathRejection>) -> Result<T> {
    path.map(|Path(names)| names).map_err(|error| Error::invalid(format!("the path is no text: {error}")))
}

/// The error of a document that there is not.
pub(super) fn no_document(name: &str) -> Error {
    const KNOWN: [&str; 2] = ["counts", "health"];
    let hint = hint(name, &KNOWN);
    Error::not_found(format!("an experiment has no {name:?}; it has counts, health and series/DATASET{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_series_is_split_by_is_read_in_any_order() {
        let check = |text: &str, expected: By| assert_eq!(by(text).unwrap(), expected, "{text}");
        check("total", By::Total);
        check("branch", By::Branch);
        check("event", By::Split("event".into()));
        check("branch,event", By::BranchAndSplit("event".into()));
        check("event, branch", By::BranchAndSplit("event".into()));
        for text in ["", "branch,branch", "branch,", "event,channel", "branch,event,channel"] {
            assert!(by(text).unwrap_err().message().contains(text), "{text}");
        }
    }

    #[test]
    fn slugs_come_as_a_text_or_an_array() {
        let now = Timestamp::MIN;
        let of = |body: &str| OfSeries::of_body(body.as_bytes(), "d", now).map(|request| request.query.experiments);
        let expected = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(of(r#"{"experiments": "a, b"}"#).unwrap(), expected);
        assert_eq!(of(r#"{"experiments": ["a", "b"]}"#).unwrap(), expected);
        assert_eq!(of("{}").unwrap(), None);
        for body in [r#"{"experiments": []}"#, r#"{"experiments": [1]}"#, r#"{"experiments": "a,,b"}"#] {
            assert!(of(body).unwrap_err().message().starts_with("experiments: give slugs"), "{body}");
        }
    }

    #[test]
    fn the_next_page_keeps_the_filters() {
        let listing = Listing::of(Some("status=Live&app=a%26b&active=true&limit=10&offset=20")).unwrap();
        assert_eq!(listing.next(), "status=Live&app=a%26b&active=true&limit=10&offset=30");
        assert!(Listing::of(Some("limit=0")).is_err());
        assert!(Listing::of(Some("limit=-1")).is_err());
    }
}
