use super::*;
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use weir_plan::Family;

fn store(capacity: u64) -> Store {
    Store::new(StoreSettings::of(capacity), Arc::new(Metrics::new()))
}

fn stored(store: &Store, rows: i64) -> Arc<Stored> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from_iter_values(0..rows))]).unwrap();
    Arc::new(Stored {
        content_id: store.content_id(),
        batches: Batches::new(schema, vec![batch]).unwrap(),
        fetched_at: Timestamp::MIN,
        job_id: String::new(),
        bytes_processed: 0,
        bytes_billed: 0,
        joined: false,
        slot_ms: 0,
    })
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn the_store_stays_under_its_cap_and_drops_the_least_recently_used() {
    let store = store(1_000_000);
    let key = |number: usize| Key::new(format!("key {number}"));
    for number in 0..200 {
        assert!(store.keep(key(number), stored(&store, 5_000), HOUR));
        assert!(store.segment(&key(0)).is_some(), "still in use after {number}");
        assert!(store.weighed_bytes() <= 1_000_000);
    }
    assert!(store.segment(&key(199)).is_some());
    assert!(store.segment(&key(1)).is_none());
}

#[test]
fn what_is_too_large_is_not_kept_and_leaves_no_older_answer() {
    let store = store(1_000_000);
    let key = Key::new("key".into());
    assert!(store.keep(key.clone(), stored(&store, 10), HOUR));
    assert!(!store.keep(key.clone(), stored(&store, 100_000), HOUR));
    assert!(store.segment(&key).is_none());
}

#[test]
fn keys_of_one_digest_and_another_meaning_are_different() {
    let store = store(1_000_000);
    store.keep(Key::new("a".into()), stored(&store, 1), HOUR);
    assert!(store.segment(&Key::new("b".into())).is_none());
}

#[test]
fn content_is_encoded_once() {
    let store = store(1_000_000);
    let mut times = 0;
    for _ in 0..3 {
        let encoded = store.encoding(7, "json", HOUR, || {
            times += 1;
            Ok(Bytes::from_static(b"{}"))
        });
        assert_eq!(encoded.unwrap(), "{}");
    }
    assert_eq!(times, 1);
    assert!(store.encoding(8, "json", HOUR, || Err(Error::internal("no"))).is_err());
}

#[test]
fn a_note_is_found_under_its_type_alone_and_never_fills_the_store() {
    let store = store(10_000);
    let (key, now) = (Key::new("key".into()), Timestamp::from_micros(7).unwrap());
    let note: Arc<Vec<&str>> = Arc::new(vec!["a", "b"]);
    store.keep_note(key.clone(), Arc::clone(&note) as _, 100, now, HOUR);
    assert_eq!(store.note::<Vec<&str>>(&key), Some((note, now)));
    assert_eq!(store.note::<String>(&key), None);
    assert!(store.segment(&key).is_none());
    let large = Key::new("large".into());
    store.keep_note(large.clone(), Arc::new(1_u8), 5_000, now, HOUR);
    assert_eq!(store.note::<u8>(&large), None);
}

#[test]
fn a_failure_is_forgotten_after_its_lifetime() {
    let store = store(1_000_000);
    let key = Key::new("key".into());
    let now = Timestamp::from_micros(0).unwrap();
    store.keep_failure(key.clone(), Error::invalid("no"), now);
    assert!(store.failure(&key, now.plus(Duration::from_secs(9))).is_some());
    assert!(store.failure(&key, now.plus(Duration::from_secs(10))).is_none());
}

#[test]
fn a_purge_moves_one_source_on() {
    let store = store(1_000);
    assert_eq!(store.purge("a").unwrap(), 1);
    assert_eq!((store.generation("a"), store.generation("b")), (1, 0));
}

#[test]
fn settled_segments_of_one_text_take_half_of_the_store_and_those_of_others_stay() {
    let store = store(100_000);
    let now = Timestamp::from_micros(0).unwrap();
    let [other, many] = ["other", "many"].map(|text| Family::new(text.to_owned()));
    let other = other.key(String::new());
    assert!(store.keep_lasting(other.clone(), stored(&store, 100), HOUR, now));
    let many: Vec<Key> = (0..20).map(|number| many.key(format!("{number}"))).collect();
    let kept = many.iter().filter(|key| store.keep_lasting(Key::clone(key), stored(&store, 1000), HOUR, now)).count();
    assert_eq!(kept, 5, "of 8,000 bytes and a little more each");
    assert!(store.segment(&other).is_some());
    assert!(many[..5].iter().all(|key| store.segment(key).is_some()) && store.segment(&many[5]).is_none());
    assert!(store.keep_lasting(many[4].clone(), stored(&store, 1000), HOUR, now), "in place of itself");
    assert!(store.keep(many[5].clone(), stored(&store, 1000), HOUR), "what is open has no quota");
    let rejected = |reason| store.metrics.store_rejected.with_label_values(&[reason]).get();
    assert_eq!((rejected("over_quota"), rejected("too_large")), (15, 0));
    // What leaves the store makes room.
    store.reject(many[0].clone(), "midnight");
    store.cache.run_pending_tasks();
    assert!(store.keep_lasting(many[6].clone(), stored(&store, 1000), HOUR, now));
}
