//! The store's cap is real memory, not only weighed bytes: a process of its own overfills one tenfold.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use weir::batches::Batches;
use weir::cache::{Store, StoreSettings, Stored};
use weir::metrics::Metrics;
use weir_plan::{Key, Timestamp};

const CAPACITY: u64 = 64 << 20;

/// Set in the child, which fills a store and prints what it weighs and what it takes.
const CHILD: &str = "WEIR_TEST_FILLS_A_STORE";

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// A segment of about 130 kB, as a panel's day might be.
fn stored(store: &Store, number: i64) -> Arc<Stored> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("value", DataType::Int64, true),
        Field::new("branch", DataType::Utf8, true),
    ]));
    let values = Int64Array::from_iter_values((0..5_000).map(|row| row * number));
    let branches = StringArray::from_iter_values((0..5_000).map(|row| format!("branch-{}", row % 7)));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values), Arc::new(branches)]).unwrap();
    Arc::new(Stored {
        content_id: store.content_id(),
        batches: Batches::new(schema, vec![batch]).unwrap().detach().unwrap(),
        fetched_at: Timestamp::MIN,
        job_id: String::new(),
        bytes_processed: 0,
        bytes_billed: 0,
        joined: false,
        slot_ms: 0,
    })
}

#[test]
fn a_store_filled_tenfold_stays_under_its_cap_and_so_does_the_process() {
    if std::env::var_os(CHILD).is_some() {
        return fill();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::a_store_filled_tenfold_stays_under_its_cap_and_so_does_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let figures = said.lines().find_map(|line| line.split_once("figures ")).unwrap().1;
    let figures: Vec<u64> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
    let [put, weighed, grown] = figures[..] else { panic!("{said}") };
    assert!(put > 10 * CAPACITY, "{put} bytes were put in");
    assert!(weighed <= CAPACITY && weighed > CAPACITY / 2, "{weighed} bytes weighed");
    // What the allocator keeps for itself comes on top of what is weighed.
    assert!(grown < CAPACITY + CAPACITY / 2, "{weighed} bytes weighed, {grown} bytes resident");
}

fn fill() {
    let store = Store::new(StoreSettings::of(CAPACITY), Arc::new(Metrics::new()));
    let before = resident();
    let (mut put, mut number) = (0_u64, 0_i64);
    while put <= 10 * CAPACITY {
        let stored = stored(&store, number);
        put += u64::try_from(stored.batches.memory_size()).unwrap();
        store.keep(Key::new(format!("segment {number}")), stored, Duration::from_hours(1));
        assert!(store.weighed_bytes() <= CAPACITY);
        number += 1;
    }
    eprintln!("{number} segments");
    let report = format!("figures {put} {} {}\n", store.weighed_bytes(), resident().saturating_sub(before));
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes()).unwrap();
}
