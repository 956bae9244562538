//! Experimenter's routes over generated tables.

use std::collections::BTreeSet;

use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::*;
use crate::monitoring::figures::{By, Figures, SeriesQuery};
use crate::monitoring::synthetic::{PROJECT, Synthetic, SyntheticConfig};
use crate::source::embedded::Embedded;

/// A door over generated tables of five days.
struct Door {
    router: Router,
    figures: Arc<Figures>,
}

const ENROLLMENTS: &str = "experiment_enrollment_overall";

fn door() -> Door {
    let clock = Arc::new(ManualClock::new(started()));
    let synthetic = Arc::new(Synthetic::new(SyntheticConfig::small(started())));
    let embedded = Embedded::new(PROJECT, Arc::clone(&clock) as _).with_feed(Arc::clone(&synthetic) as _);
    synthetic.install(&embedded, started(), &mut |_| ()).unwrap();
    let mut app = App::new(StoreSettings::of(256 << 20), clock, App::GRACE);
    app.add_source("only", Arc::new(embedded), EngineSettings::default());
    let figures = app.figures(None).unwrap();
    Door { router: router(Arc::new(app), ExportSettings::default()), figures }
}

impl Door {
    async fn send(&self, request: Request<Body>) -> Read {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Read { status, headers, body: to_bytes(response.into_body(), usize::MAX).await.unwrap() }
    }

    async fn get(&self, path: &str) -> Read {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn slugs(&self) -> Vec<String> {
        self.figures.experiments().await.unwrap().keys().map(ToString::to_string).collect()
    }
}

#[tokio::test]
async fn pages_of_experiments_follow_each_other_to_the_last() {
    let door = door();
    let slugs = door.slugs().await;
    let mut next = Some("/api/v1/experiments?limit=7".to_owned());
    let mut seen = Vec::new();
    while let Some(path) = next {
        let page = door.get(&path).await;
        assert_eq!(page.header("x-total-count"), Some(slugs.len().to_string().as_str()));
        let json = page.json();
        next = json["next"].as_str().map(str::to_owned);
        assert_eq!(page.header("link").is_some(), next.is_some());
        seen.extend(json["experiments"].as_array().unwrap().iter().map(|it| it["slug"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, slugs);
    let live = door.get("/api/v1/experiments?status=live&active=true").await.json();
    assert_eq!(live["total"], 12);
    let app = live["experiments"][0]["app_name"].as_str().unwrap();
    let of_app = door.get(&format!("/api/v1/experiments?app={app}")).await.json();
    assert!(of_app["experiments"].as_array().unwrap().iter().all(|it| it["app_name"] == app));
    assert_eq!(door.get("/api/v1/experiments?offset=1000").await.json()["experiments"], json!([]));
}

#[tokio::test]
async fn an_experiment_is_found_by_its_slug() {
    let door = door();
    let slug = &door.slugs().await[0];
    let experiment = door.get(&format!("/api/v1/experiments/{slug}")).await.json();
    assert_eq!(experiment["slug"], slug.as_str());
    assert!(experiment["branches"][0]["slug"].is_string() && experiment["start_date"].is_string(), "{experiment}");
}

#[tokio::test]
async fn counts_come_in_the_envelope_whose_moment_is_no_part_of_its_name() {
    let door = door();
    let counts = door.figures.counts().await.unwrap();
    let all = door.get("/api/v1/experiments/counts").await;
    assert_eq!(all.json()["v1"], serde_json::to_value(&counts.by_slug).unwrap());
    assert_eq!(all.json()["generated_at"], counts.as_of.to_string());
    let slug = counts.by_slug.keys().next().unwrap();
    let one = door.get(&format!("/api/v1/experiments/{slug}/counts")).await;
    assert_eq!(one.json()["v1"], json!({ &**slug: counts.by_slug[slug] }));
    let asked = door.get(&format!("/api/v1/experiments/counts?experiments={slug}")).await;
    assert_eq!((asked.json(), asked.header("etag")), (one.json(), one.header("etag")));
    let etag = one.header("etag").unwrap();
    let again = Request::get(format!("/api/v1/experiments/{slug}/counts")).header("if-none-match", etag);
    let again = door.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert!(again.header("x-weir-result").unwrap().contains("status=hit"));
    assert!(again.header("cache-control").unwrap().starts_with("private, max-age="));
}

#[tokio::test]
async fn health_names_every_rule_and_what_it_was_computed_from() {
    let door = door();
    let slug = &door.slugs().await[0];
    let health = door.get(&format!("/api/v1/experiments/{slug}/health")).await.json();
    let rules: Vec<&str> = health["rules"].as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap()).collect();
    let expected = "unenrollment_rate unenrollment_spike srm_p_value max_ratio_deviation srm_mismatch low_enrollment \
        feature_conflict top_unenrollment_reason";
    assert_eq!(rules.join(" "), expected);
    assert!(health["rules"].as_array().unwrap().iter().all(|rule| rule["inputs"].is_object()), "{health}");
    let all = door.get("/api/v1/experiments/health").await.json();
    let slugs: Vec<&Value> = all["experiments"].as_array().unwrap().iter().map(|it| &it["experiment"]).collect();
    assert_eq!(slugs.len(), 16, "live ones and those that ended within 14 days");
    let same = all["experiments"].as_array().unwrap().iter().find(|it| it["experiment"] == health["experiment"]);
    assert!(same.is_none_or(|same| *same == health));
}

/// The number of rows of a body.
fn rows(format: &str, body: &Bytes) -> usize {
    match format {
        "json" => serde_json::from_slice::<Value>(body).unwrap()["rows"].as_array().unwrap().len(),
        "ndjson" => body.split(|byte| *byte == b'\n').count() - 1,
        "csv" => std::str::from_utf8(body).unwrap().matches("\r\n").count() - 1,
        "arrow" => StreamReader::try_new(&body[..], None).unwrap().map(|batch| batch.unwrap().num_rows()).sum(),
        _ => {
            ParquetRecordBatchReader::try_new(body.clone(), 1024).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
        }
    }
}

#[tokio::test]
async fn series_have_the_same_rows_in_every_format_by_suffix_and_by_accept() {
    let door = door();
    let query = SeriesQuery {
        dataset: ENROLLMENTS.into(),
        by: By::Branch,
        experiments: Some(vec![door.slugs().await[0].clone()]),
        ..SeriesQuery::default()
    };
    let points = door.figures.series(&query).await.unwrap()[0].points.len();
    assert!(points > 50, "{points}");
    let path = format!("/api/v1/experiments/{}/series/{ENROLLMENTS}", door.slugs().await[0]);
    for format in Format::ALL {
        let name = format.name();
        let by_suffix = door.get(&format!("{path}.{name}?by=branch")).await;
        assert_eq!(by_suffix.header("content-type"), Some(format.media_type()), "{name}");
        assert_eq!(rows(name, &by_suffix.body), points, "{name}");
        let accepts = Request::get(format!("{path}?by=branch")).header("accept", format.media_type());
        let accepted = door.send(accepts.body(Body::empty()).unwrap()).await;
        assert_eq!((&accepted.body, accepted.header("etag")), (&by_suffix.body, by_suffix.header("etag")));
        assert!(by_suffix.header("x-weir-result").is_some() && by_suffix.header("cache-control").is_some());
    }
    let json = door.get(&format!("{path}?by=branch,channel")).await.json();
    let names: Vec<&Value> = json["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["experiment", "time", "branch", "channel", "value"]);
}

#[tokio::test]
async fn documents_are_tables_in_the_other_formats() {
    let door = door();
    let slugs = door.slugs().await;
    let counts = door.figures.counts().await.unwrap();
    let branches = counts.by_slug.values().map(|counts| counts.branches.len()).sum::<usize>();
    let check = async |path: &str, expected: usize| {
        for format in Format::ALL.map(Format::name).into_iter().filter(|format| *format != "json") {
            let read = door.get(&format!("/api/v1/{path}.{format}?source=only")).await;
            assert_eq!(read.status, StatusCode::OK, "{path}.{format}: {:?}", read.body);
            assert_eq!(rows(format, &read.body), expected, "{path}.{format}");
        }
    };
    check("experiments", slugs.len()).await;
    check("experiments/counts", branches).await;
    check("experiments/health", 16 * 8).await;
    check(&format!("experiments/{}", slugs[0]), 1).await;
    check(&format!("experiments/{}/health", slugs[0]), 8).await;
    check("datasets", 10).await;
}

#[tokio::test]
async fn series_of_many_are_asked_for_by_address_or_by_body() {
    let door = door();
    let slugs = &door.slugs().await[..3];
    let path = format!("/api/v1/series/{ENROLLMENTS}.csv");
    let got = door.get(&format!("{path}?experiments={}&granularity=1d", slugs.join(","))).await;
    let body = json!({"experiments": slugs, "granularity": "1d"}).to_string();
    let posted = door.send(Request::post(&path).body(Body::from(body)).unwrap()).await;
    assert_eq!((posted.status, &posted.body), (StatusCode::OK, &got.body));
    let text = std::str::from_utf8(&got.body).unwrap();
    let named: BTreeSet<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), slugs);
    let active = door.get(&format!("{path}?granularity=1d")).await;
    assert!(rows("csv", &active.body) > rows("csv", &got.body));
}

#[tokio::test]
async fn bad_requests_name_the_slug_the_dataset_or_the_parameter() {
    let door = door();
    let slug = door.slugs().await[0].clone();
    let check = async |path: &str, status: u16, expected: &str| {
        let code = if status == 404 { "not_found" } else { "invalid_query" };
        let detail = door.get(&format!("/api/v1/{path}")).await.problem(status, code);
        assert!(detail.contains(expected), "{path}: {detail}");
    };
    check(&format!("experiments/{slug}x"), 404, &format!("no experiment \"{slug}x\"; did you mean {slug:?}?")).await;
    check("experiments/a%27b%22%2Fc%60/counts", 404, "no experiment \"a'b\\\"/c`\"").await;
    check(&format!("experiments/counts?experiments={slug},nobody"), 404, "no experiment \"nobody\"").await;
    check(&format!("experiments/{slug}/conts"), 404, "did you mean \"counts\"?").await;
    check(&format!("experiments/{slug}/series/{ENROLLMENTS}s"), 404, &format!("did you mean {ENROLLMENTS:?}?")).await;
    let of = |text: &str| format!("experiments/{slug}/series/{ENROLLMENTS}?{text}");
    check(&of("granularity=1m"), 400, "granularity: ").await;
    check(&of("by=week"), 400, "by: dataset experiment_enrollment_overall is split by branch, channel").await;
    check(&of("from=now&to=now-1h"), 400, "from: ").await;
    check(&of("from=someday"), 400, "from: ").await;
    check(&of("cumulative=maybe"), 400, "cumulative: ").await;
    check(&of("form=now"), 400, "unknown field form; did you mean from?").await;
    check(&of("experiments=a"), 400, "unknown field experiments").await;
    check("experiments?limit=0", 400, "limit: 0 is not between 1 and 1000").await;
    check("experiments?active=yes", 400, "active: ").await;
    check("experiments?source=other", 404, "no source \"other\"; there are: only").await;
    check("experiments/%FF", 400, "the path is no text").await;
}

#[tokio::test]
async fn the_description_names_every_route_and_every_failure() {
    let door = door();
    let description = door.get("/api/v1/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    let slug = &door.slugs().await[0];
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let statuses: BTreeSet<&str> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            for kind in Kind::ALL {
                assert!(statuses.contains(kind.row().http.to_string().as_str()), "{method} {path}: {statuses:?}");
            }
        }
        if item["get"].is_object() && !path.ends_with("/query") && !path.ends_with("/explain") {
            let read = door.get(&path.replace("{slug}", slug).replace("{dataset}", ENROLLMENTS)).await;
            assert_eq!(read.status, StatusCode::OK, "{path}: {:?}", read.body);
            let media = read.header("content-type").unwrap().split(';').next().unwrap();
            let content = item["get"]["responses"]["200"]["content"].as_object().unwrap();
            assert!(content.keys().any(|known| known.starts_with(media)), "{path}: {media}");
        }
    }
    let parameters = &description["paths"]["/api/v1/experiments/{slug}/series/{dataset}"]["get"]["parameters"];
    let names: BTreeSet<&str> =
        parameters.as_array().unwrap().iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    let expected = ["by", "cumulative", "dataset", "format", "from", "granularity", "slug", "source", "to"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    let page = door.get("/api/v1/docs").await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(!std::str::from_utf8(&page.body).unwrap().contains("http://"), "it needs nothing from elsewhere");
}
