//! Experimenter's door: experiments, their counts, health and series. It decodes, asks the figures and
//! encodes; it adds nothing up.

pub(super) mod document;
mod request;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use weir_plan::{Error, Result};

use self::document::{CountsEnvelope, DatasetList, HealthEnvelope};
use self::request::{Common, Listing, Many, OfSeries};
use super::Export;
use super::format::Format;
use super::named;
use super::openapi::{ExperimentPage, SeriesBody, Table};
use super::problem::Problem;
use super::reply;
use super::routes::read;
use crate::engine::Answer;
use crate::monitoring::figures::{Counts, Experiment, Figures, find};
use crate::monitoring::health::{Health, health};

type Reply = std::result::Result<Response, Problem>;
type Segment<T> = std::result::Result<Path<T>, PathRejection>;

/// How many experiments fit the filters.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// Experiments and rollouts, in order of their slugs, a page at a time.
#[utoipa::path(get, path = "/api/v1/experiments", tag = "experiments", params(
    ("status" = Option<String>, Query, description = "`Live` or `Complete`"),
    ("app" = Option<String>, Query, description = "Name of the application"),
    ("active" = Option<bool>, Query, description = "Whether it is live or ended within the last 14 days"),
    ("offset" = Option<usize>, Query, description = "Experiments to skip"),
    ("limit" = Option<usize>, Query, description = "Experiments of a page, 1 to 1000; 100 where nothing is said", minimum = 1, maximum = 1000),
), responses((status = 200, description = "The page; `next` and the header `Link` name the next one", body = ExperimentPage)))]
pub(super) async fn list(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(text): RawQuery,
) -> Reply {
    let listing = Listing::of(text.as_deref())?;
    let format = named::format(named::split(uri.path()).1, listing.common.format, &headers)?;
    let figures = export.app.figures(listing.common.source.as_deref())?;
    let listed = figures.listed().await?;
    let now = figures.engine().now();
    let fitting: Vec<&Experiment> = listed.figure.values().filter(|it| listing.takes(it, now)).collect();
    let page: Vec<&Experiment> = fitting.iter().skip(listing.offset).take(listing.limit).copied().collect();
    let is_last = listing.offset.saturating_add(listing.limit) >= fitting.len();
    let next = (!is_last).then(|| format!("/api/v1/experiments?{}", listing.next()));
    let name = format!("{listing:?} on {}", now.date());
    let mut response = reply::document(figures.engine(), &listed.answers, &name, (format, &headers), || {
        document::page(&page, fitting.len(), next.as_deref())?.written(format)
    })?;
    response.headers_mut().insert(TOTAL, fitting.len().into());
    if let Some(next) = next {
        let link = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""));
        response.headers_mut().insert(LINK, link.map_err(|error| Error::internal("a link").with_source(error))?);
    }
    Ok(response)
}

/// One experiment. `counts.csv`, `health.parquet` and the like are those of many, in that format.
#[utoipa::path(get, path = "/api/v1/experiments/{slug}", tag = "experiments",
    responses((status = 200, description = "The experiment", body = Experiment)))]
pub(super) async fn one(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    path: Segment<String>,
    RawQuery(text): RawQuery,
) -> Reply {
    let segment = request::names(path)?;
    match named::split(&segment) {
        ("counts", suffix @ Some(_)) => return many_counts(&export, &headers, suffix, text.as_deref()).await,
        ("health", suffix @ Some(_)) => return many_health(&export, &headers, suffix, text.as_deref()).await,
        _ => {}
    }
    let common = Common::of(text.as_deref())?;
    let (slug, suffix) = named::split(&segment);
    let format = named::format(suffix, common.format, &headers)?;
    let figures = export.app.figures(common.source.as_deref())?;
    let listed = figures.listed().await?;
    let experiment = find(&listed.figure, slug)?;
    let write = || document::experiment(experiment)?.written(format);
    let name = format!("experiment {slug:?}");
    Ok(reply::document(figures.engine(), &listed.answers, &name, (format, &headers), write)?)
}

/// All-time enrollments and unenrollments of many experiments, in the envelope that Experimenter reads.
#[utoipa::path(get, path = "/api/v1/experiments/counts", tag = "experiments", params(
    ("experiments" = Option<String>, Query, description = "Slugs separated by commas; all that have counts where nothing is said"),
), responses((status = 200, description = "Counts by slug", body = CountsEnvelope)))]
pub(super) async fn all_counts(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Reply {
    many_counts(&export, &headers, None, text.as_deref()).await
}

/// The health of many experiments: every rule with its value, threshold, verdict and inputs.
#[utoipa::path(get, path = "/api/v1/experiments/health", tag = "experiments", params(
    ("experiments" = Option<String>, Query, description = "Slugs separated by commas; the active ones where nothing is said"),
), responses((status = 200, description = "Health", body = HealthEnvelope)))]
pub(super) async fn all_health(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Reply {
    many_health(&export, &headers, None, text.as_deref()).await
}

async fn many_counts(export: &Export, headers: &HeaderMap, suffix: Option<Format>, text: Option<&str>) -> Reply {
    counts(export, headers, suffix, &Many::of(text)?).await
}

async fn many_health(export: &Export, headers: &HeaderMap, suffix: Option<Format>, text: Option<&str>) -> Reply {
    judge(export, headers, suffix, &Many::of(text)?, false).await
}

/// All-time enrollments and unenrollments of an experiment, in the envelope that Experimenter reads.
#[utoipa::path(get, path = "/api/v1/experiments/{slug}/counts", tag = "experiments",
    responses((status = 200, description = "Its counts by its slug; empty before its first event", body = CountsEnvelope)))]
pub(super) async fn of_one(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    path: Segment<(String, String)>,
    RawQuery(text): RawQuery,
) -> Reply {
    let (slug, segment) = request::names(path)?;
    let (name, suffix) = named::split(&segment);
    let many = Many { common: Common::of(text.as_deref())?, experiments: Some(vec![slug]) };
    match name {
        "counts" => counts(&export, &headers, suffix, &many).await,
        "health" => judge(&export, &headers, suffix, &many, true).await,
        _ => Err(request::no_document(name).into()),
    }
}

/// The health of an experiment: every rule with its value, threshold, verdict and inputs.
#[utoipa::path(get, path = "/api/v1/experiments/{slug}/health", tag = "experiments",
    responses((status = 200, description = "Its health", body = Health)))]
#[expect(dead_code, reason = "describes what `of_one` does besides")]
pub(super) fn health_of_one() {}

async fn counts(export: &Export, headers: &HeaderMap, suffix: Option<Format>, many: &Many) -> Reply {
    let format = named::format(suffix, many.common.format, headers)?;
    let figures = export.app.figures(many.common.source.as_deref())?;
    let (listed, counted) = tokio::try_join!(figures.listed(), figures.counted())?;
    let Counts { by_slug, as_of } = &*counted.figure;
    if let Some(slugs) = &many.experiments {
        slugs.iter().try_for_each(|slug| find(&listed.figure, slug).map(drop))?;
    }
    let is_asked = |slug: &str| many.experiments.as_ref().is_none_or(|slugs| slugs.iter().any(|asked| asked == slug));
    let write = || {
        let asked: Vec<_> = by_slug.iter().filter(|(slug, _)| is_asked(slug)).collect();
        document::counts(&asked, *as_of)?.written(format)
    };
    let name = format!("counts {:?}", many.experiments);
    Ok(reply::document(figures.engine(), &counted.answers, &name, (format, headers), write)?)
}

async fn judge(export: &Export, headers: &HeaderMap, suffix: Option<Format>, many: &Many, is_one: bool) -> Reply {
    let format = named::format(suffix, many.common.format, headers)?;
    let figures = export.app.figures(many.common.source.as_deref())?;
    let (listed, counted, funneled) = tokio::try_join!(figures.listed(), figures.counted(), figures.funneled())?;
    let now = figures.engine().now();
    let asked: Vec<&Experiment> = match &many.experiments {
        Some(slugs) => slugs.iter().map(|slug| find(&listed.figure, slug)).collect::<Result<_>>()?,
        None => listed.figure.values().filter(|experiment| experiment.is_active(now)).collect(),
    };
    let judged = |experiment: &&Experiment| {
        let counts = counted.figure.by_slug.get(&experiment.slug);
        let funnel = figures.has_funnel().then(|| funneled.figure.get(&experiment.slug).map_or(&[][..], Vec::as_slice));
        health(experiment, counts, funnel, now)
    };
    let answers: Vec<Answer> = counted.answers.iter().chain(&funneled.answers).cloned().collect();
    let name = format!("health {:?} on {}", many.experiments, now.date());
    Ok(reply::document(figures.engine(), &answers, &name, (format, headers), || {
        let judged: Vec<Health> = asked.iter().map(judged).collect();
        document::health(&judged, is_one, counted.figure.as_of)?.written(format)
    })?)
}

/// A dataset of an experiment over time.
#[utoipa::path(get, path = "/api/v1/experiments/{slug}/series/{dataset}", tag = "series",
    responses((status = 200, description = "Its points, oldest first", body = Table)))]
pub(super) async fn series_of_one(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    path: Segment<(String, String)>,
    RawQuery(text): RawQuery,
) -> Reply {
    let (slug, segment) = request::names(path)?;
    let (dataset, suffix) = named::split(&segment);
    let request = OfSeries::of(text.as_deref(), dataset, Some(&slug), export.app.clock().now())?;
    series(&export, &headers, suffix, request).await
}

/// A dataset of many experiments over time.
#[utoipa::path(get, path = "/api/v1/series/{dataset}", tag = "series", params(
    ("experiments" = Option<String>, Query, description = "Slugs separated by commas; the active ones where nothing is said"),
), responses((status = 200, description = "Their points, by experiment and oldest first", body = Table)))]
pub(super) async fn series_of_many(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    path: Segment<String>,
    RawQuery(text): RawQuery,
) -> Reply {
    let segment = request::names(path)?;
    let (dataset, suffix) = named::split(&segment);
    let request = OfSeries::of(text.as_deref(), dataset, None, export.app.clock().now())?;
    series(&export, &headers, suffix, request).await
}

/// As the GET request, with its parameters in a JSON body: for more slugs than fit an address.
#[utoipa::path(post, path = "/api/v1/series/{dataset}", tag = "series", request_body = SeriesBody,
    responses((status = 200, description = "Their points, by experiment and oldest first", body = Table)))]
pub(super) async fn post_series(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    path: Segment<String>,
    body: Body,
) -> Reply {
    let segment = request::names(path)?;
    let (dataset, suffix) = named::split(&segment);
    let body = read(body, &headers, export.settings.largest_body).await?;
    let request = OfSeries::of_body(&body, dataset, export.app.clock().now())?;
    series(&export, &headers, suffix, request).await
}

async fn series(export: &Export, headers: &HeaderMap, suffix: Option<Format>, request: OfSeries) -> Reply {
    let OfSeries { common, mut query } = request;
    let format = named::format(suffix, common.format, headers)?;
    let figures = export.app.figures(common.source.as_deref())?;
    if query.experiments.is_none() {
        query.experiments = Some(active(&figures).await?);
    }
    let answer = figures.series_table(&query).await?;
    Ok(reply::reply(figures.engine(), &answer, format, headers)?)
}

async fn active(figures: &Figures) -> Result<Vec<String>> {
    let now = figures.engine().now();
    let listed = figures.experiments().await?;
    let active = listed.values().filter(|experiment| experiment.is_active(now));
    Ok(active.map(|experiment| experiment.slug.to_string()).collect())
}

/// The datasets that there are, what they can be split by, and their finest granularity.
#[utoipa::path(get, path = "/api/v1/datasets", tag = "series",
    responses((status = 200, description = "The datasets", body = DatasetList)))]
pub(super) async fn datasets(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(text): RawQuery,
) -> Reply {
    let common = Common::of(text.as_deref())?;
    let format = named::format(named::split(uri.path()).1, common.format, &headers)?;
    let figures = export.app.figures(common.source.as_deref())?;
    let written = document::datasets(figures.datasets())?.written(format)?;
    Ok(reply::fixed(written, (format, &headers))?)
}
