//! Rows of every type in every format, and answers that are streamed.

use arrow::ipc::reader::StreamReader;
use serde_json::{Value, json};

use super::scripted::types;
use super::{ARROW, bench};

#[tokio::test]
async fn json_has_columns_with_their_types_and_rows() {
    let body = bench().query("SELECT 'types'", &[]).await.json();
    let columns: Vec<_> = body["columns"].as_array().unwrap().iter().map(|column| column["type"].clone()).collect();
    let names = [
        "INT64",
        "FLOAT64",
        "FLOAT64",
        "BOOL",
        "STRING",
        "BYTES",
        "NUMERIC",
        "BIGNUMERIC",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "DATETIME",
        "ARRAY<INT64>",
        "STRUCT<slug STRING, ratio INT64>",
    ];
    assert_eq!(columns, names);
    assert_eq!(body["columns"][0]["name"], "int");
    assert_eq!(
        body["rows"],
        json!([
            [
                1, 1.5, "Infinity", true, "a\"b\n", "AP8=", "123.45", "-0.00000000000000000000000000000000000005",
                "2024-01-01", "01:01:01", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00", [1, null],
                {"slug": "control", "ratio": 1},
            ],
            [
                i64::MIN, "NaN", "-Infinity", false, "žluť \u{1F98A}", "", "17014118346046923173168730371.588410572",
                "0", "0001-01-01", "23:59:59.999999", "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999", [],
                {"slug": null, "ratio": null},
            ],
            [null, null, null, null, null, null, null, null, null, null, null, null, null, null],
        ])
    );
}

#[tokio::test]
async fn ndjson_has_an_object_a_line_with_the_cells_of_json() {
    let bench = bench();
    let table = bench.query("SELECT 'types'", &[]).await.json();
    let read = bench.query("SELECT 'types'", &[("accept", "application/x-ndjson")]).await;
    let text = String::from_utf8(read.body.to_vec()).unwrap();
    assert!(text.ends_with('\n'));
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3);
    for (object, row) in objects.iter().zip(table["rows"].as_array().unwrap()) {
        let names = table["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
        for (name, cell) in names.zip(row.as_array().unwrap()) {
            assert_eq!(&object[name], cell, "{name}");
        }
        assert_eq!(object.as_object().unwrap().len(), 14);
    }
}

#[tokio::test]
async fn an_arrow_stream_gives_back_the_very_batch() {
    let read = bench().query("SELECT 'types'", &[("accept", ARROW)]).await;
    let batches: Vec<_> = StreamReader::try_new(&*read.body, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches, [types()]);
}

#[tokio::test]
async fn a_large_answer_streams_the_same_rows_in_every_encoding() {
    let bench = bench();
    let arrow = bench.query("SELECT 'large'", &[("accept", ARROW)]).await;
    assert_eq!(arrow.header("etag"), None);
    let batches: Vec<_> = StreamReader::try_new(&*arrow.body, None).unwrap().map(Result::unwrap).collect();
    assert!(batches.len() > 100, "{}", batches.len());
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 750_000);
    let plain = bench.query("SELECT 'large'", &[("accept", "application/x-ndjson")]).await;
    let headers = [("accept", "application/x-ndjson"), ("accept-encoding", "zstd")];
    let zstd = bench.query("SELECT 'large'", &headers).await;
    assert_eq!(zstd::stream::decode_all(&*zstd.body).unwrap(), plain.body);
    let last = plain.body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(last).unwrap()["n"], 749_999);
    assert_eq!(bench.source.jobs(), 1);
}
