//! A bucket, through the client that Google's own is written with.

use std::sync::Arc;

use serde_json::json;
use weir_plan::{Error, Kind};

use super::super::bucket::Bucket;
use super::super::session::Session;
use super::gcs::{BUCKET, Google};
use super::{at, index, object, text};
use crate::clock::{Clock, SystemClock};
use crate::config::Login;

const NOW: &str = "2024-03-01T10:00:00Z";

async fn bucket(google: &Google, to: &str) -> Bucket {
    let login = Login::Impersonated {
        login: Box::new(Login::Anonymous),
        service_account: "publisher@project.iam.gserviceaccount.com".to_owned(),
        endpoint: Some(google.url.clone()),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Bucket::open(&to.parse().unwrap(), &login, Some(&google.url), &clock).await.unwrap()
}

async fn publish(bucket: &Bucket, now: &str, objects: &[(&str, &str)]) -> Result<super::super::Tally, Error> {
    let session = Session::begin(bucket, at(now)).await?;
    for (file, content) in objects {
        session.put(&object(file, content), at(now)).await?;
    }
    session.end(at(now)).await
}

#[tokio::test]
async fn objects_are_written_once_with_their_type_and_cache_control() {
    let google = Google::start().await;
    let bucket = bucket(&google, &format!("gs://{BUCKET}/weir/v1")).await;
    let objects = [("a.json", "[]"), ("b.json", "[1]")];
    let tally = publish(&bucket, NOW, &objects).await.unwrap();
    assert_eq!((tally.written, tally.unchanged, tally.bytes), (2, 0, 5));
    let tally = publish(&bucket, NOW, &[("a.json", "[]"), ("b.json", "[2]")]).await.unwrap();
    assert_eq!((tally.written, tally.unchanged), (1, 1));
    let inner = google.inner.lock();
    let [a, b, index] = ["a.json", "b.json"]
        .map(|name| format!("weir/v1/monitoring/{name}"))
        .into_iter()
        .chain(["weir/v1/index.json".to_owned()])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(inner.writes, [a.clone(), b.clone(), index.clone(), b.clone(), index]);
    assert_eq!(inner.objects[&b].bytes, "[2]");
    assert_eq!(inner.objects[&a].headers["content-type"], "application/json");
    assert_eq!(inner.objects[&a].headers["cache-control"], "no-cache");
    assert_eq!(inner.scope, json!(["https://www.googleapis.com/auth/cloud-platform"]));
    assert_eq!(inner.given, ["token-1"]);
}

#[tokio::test]
async fn objects_of_others_are_not_touched() {
    let google = Google::start().await;
    let other = bucket(&google, &format!("gs://{BUCKET}/statistics")).await;
    publish(&other, NOW, &[("a.json", "theirs")]).await.unwrap();
    let before = google.inner.lock().objects.clone();
    let ours = bucket(&google, &format!("gs://{BUCKET}")).await;
    publish(&ours, NOW, &[("a.json", "ours")]).await.unwrap();
    let inner = google.inner.lock();
    let same = |(name, stored): (&String, &super::gcs::Stored)| inner.objects[name].generation == stored.generation;
    assert!(before.iter().all(same));
    assert_eq!(inner.objects["monitoring/a.json"].bytes, "ours");
}

#[tokio::test]
async fn a_missing_bucket_is_named_with_the_remedy() {
    let google = Google::start().await;
    let error = publish(&bucket(&google, "gs://no-such/x").await, NOW, &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("gs://no-such/x"), "{error}");
    assert!(error.message().contains("there is no such bucket") && error.message().contains("mend --to"), "{error}");
}

#[tokio::test]
async fn a_bucket_that_may_not_be_written_is_named_with_the_role_that_lacks() {
    let google = Google::start().await;
    let bucket = bucket(&google, &format!("gs://{BUCKET}")).await;
    publish(&bucket, NOW, &[("a.json", "old")]).await.unwrap();
    google.inner.lock().is_read_only = true;
    let error = publish(&bucket, NOW, &[("a.json", "new")]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied);
    for part in ["gs://experiments/monitoring/a.json", "publisher@project", "roles/storage.objectUser"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(text(&bucket, "monitoring/a.json").await.unwrap(), "old");
}

#[tokio::test]
async fn a_token_that_expires_midway_is_replaced_once() {
    let google = Google::start().await;
    google.inner.lock().revoke_after = Some(2);
    let bucket = bucket(&google, &format!("gs://{BUCKET}")).await;
    let objects = [("a.json", "1"), ("b.json", "2"), ("c.json", "3"), ("d.json", "4")];
    let tally = publish(&bucket, NOW, &objects).await.unwrap();
    assert_eq!(tally.written, 4);
    assert_eq!(google.inner.lock().given, ["token-1", "token-2"]);
}

#[tokio::test]
async fn credentials_that_expire_midway_leave_whole_objects_and_say_what_to_do() {
    let google = Google::start().await;
    let bucket = bucket(&google, &format!("gs://{BUCKET}")).await;
    publish(&bucket, NOW, &[("a.json", "old a"), ("b.json", "old b")]).await.unwrap();
    {
        let mut inner = google.inner.lock();
        inner.is_logged_out = true;
        // Two objects and the index are written already.
        inner.revoke_after = Some(4);
    }
    let error = publish(&bucket, NOW, &[("a.json", "new a"), ("b.json", "new b")]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("cannot write gs://experiments/monitoring/b.json"), "{error}");
    assert!(error.message().contains("impersonat"), "{error}");
    {
        let mut inner = google.inner.lock();
        assert_eq!(inner.objects["monitoring/a.json"].bytes, "new a");
        assert_eq!(inner.objects["monitoring/b.json"].bytes, "old b");
        (inner.is_logged_out, inner.revoke_after) = (false, None);
    }
    let tally = publish(&bucket, NOW, &[("a.json", "new a"), ("b.json", "new b")]).await.unwrap();
    assert_eq!((tally.written, tally.unchanged), (1, 1));
}

#[tokio::test]
async fn a_write_that_somebody_was_faster_with_leaves_the_fresher_figures() {
    let google = Google::start().await;
    let to = format!("gs://{BUCKET}");
    let (slow, fast) = (bucket(&google, &to).await, bucket(&google, &to).await);
    let early = Session::begin(&slow, at("2024-03-01T10:00:00Z")).await.unwrap();
    publish(&fast, "2024-03-01T10:05:00Z", &[("a.json", "fresh"), ("same.json", "same")]).await.unwrap();
    for (file, content) in [("a.json", "stale"), ("same.json", "same"), ("only.json", "mine")] {
        early.put(&object(file, content), at("2024-03-01T10:00:00Z")).await.unwrap();
    }
    let tally = early.end(at("2024-03-01T10:06:00Z")).await.unwrap();
    assert_eq!((tally.written, tally.unchanged, tally.left), (1, 1, 1));
    assert_eq!(text(&slow, "monitoring/a.json").await.unwrap(), "fresh");
    let names: Vec<String> = index(&slow).await.objects.into_keys().collect();
    assert_eq!(names, ["monitoring/a.json", "monitoring/only.json", "monitoring/same.json"]);
}

#[tokio::test]
async fn fresher_figures_replace_those_of_a_faster_publisher() {
    let google = Google::start().await;
    let to = format!("gs://{BUCKET}");
    let (one, other) = (bucket(&google, &to).await, bucket(&google, &to).await);
    let session = Session::begin(&one, at("2024-03-01T10:05:00Z")).await.unwrap();
    publish(&other, "2024-03-01T10:00:00Z", &[("a.json", "older")]).await.unwrap();
    session.put(&object("a.json", "newer"), at("2024-03-01T10:05:00Z")).await.unwrap();
    assert_eq!(session.end(at("2024-03-01T10:05:01Z")).await.unwrap().written, 1);
    assert_eq!(text(&one, "monitoring/a.json").await.unwrap(), "newer");
}
