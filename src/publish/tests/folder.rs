//! A folder that is read while it is written, and stores that fail.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use weir_plan::{Kind, Result};

use super::super::Tally;
use super::super::bucket::Bucket;
use super::super::index::same;
use super::super::session::Session;
use super::{at, index, object, text};

const NOW: &str = "2024-03-01T10:00:00Z";

async fn publish(bucket: &Bucket, objects: &[(String, String)]) -> Result<Tally> {
    let session = Session::begin(bucket, at(NOW)).await?;
    for (file, content) in objects {
        session.put(&object(file, content), at(NOW)).await?;
    }
    session.end(at(NOW)).await
}

/// Numbers that are all the same, in a file of some size.
fn content(number: usize) -> String {
    serde_json::to_string(&vec![number; 2000]).unwrap()
}

/// As Experimenter's storage class does it.
fn read_if_there(path: &FilePath) -> Option<String> {
    path.exists().then(|| std::fs::read_to_string(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_half_a_file_in_a_thousand_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::folder(folder.path()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (path, done) = (folder.path().join("monitoring/a.json"), Arc::clone(&done));
        move || {
            let (mut reads, mut last) = (0_usize, 0);
            while !done.load(Ordering::Acquire) {
                let Some(text) = read_if_there(&path) else {
                    assert_eq!(reads, 0, "a file that was there is not gone");
                    continue;
                };
                let numbers: Vec<usize> = serde_json::from_str(&text).unwrap();
                assert!(numbers.len() == 2000 && numbers.iter().all(|number| *number == numbers[0]));
                assert!(numbers[0] >= last, "a file does not go back");
                (reads, last) = (reads + 1, numbers[0]);
            }
            reads
        }
    });
    for round in 0..1000 {
        let tally = publish(&bucket, &[("a.json".to_owned(), content(round))]).await.unwrap();
        assert_eq!(tally.written, 1);
    }
    done.store(true, Ordering::Release);
    assert!(reader.join().unwrap() > 100);
}

#[tokio::test]
async fn what_is_unchanged_is_not_written_and_what_was_tampered_with_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::folder(folder.path()).unwrap();
    let objects = [("a.json".to_owned(), content(1)), ("b.json".to_owned(), content(2))];
    assert_eq!(publish(&bucket, &objects).await.unwrap().written, 2);
    assert_eq!(publish(&bucket, &objects).await.unwrap().unchanged, 2);
    let (a, b) = (folder.path().join("monitoring/a.json"), folder.path().join("monitoring/b.json"));
    std::fs::write(&a, content(3)).unwrap();
    std::fs::remove_file(&b).unwrap();
    assert_eq!(publish(&bucket, &objects).await.unwrap().written, 2);
    assert_eq!((read_if_there(&a).unwrap(), read_if_there(&b).unwrap()), (content(1), content(2)));
    // Touched, but the same: it is looked into, and left.
    std::fs::write(&a, content(1)).unwrap();
    assert_eq!(publish(&bucket, &objects).await.unwrap().unchanged, 2);
}

#[tokio::test]
async fn two_publishers_to_a_folder_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Bucket::folder(folder.path()).unwrap(), Bucket::folder(folder.path()).unwrap());
    let objects = [("a.json".to_owned(), content(1))];
    let session = Session::begin(&one, at(NOW)).await.unwrap();
    let error = publish(&other, &objects).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
    session.end(at(NOW)).await.unwrap();
    assert_eq!(publish(&other, &objects).await.unwrap().written, 1);
}

#[tokio::test]
async fn files_that_are_not_ours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let others = ["statistics/a.json", "monitoring/notes.txt", "weir.json"].map(|name| folder.path().join(name));
    for path in &others {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "theirs").unwrap();
    }
    // What a publisher left that was killed in mid-write.
    std::fs::write(folder.path().join("monitoring/.a.json.part"), "[1,").unwrap();
    let bucket = Bucket::folder(folder.path()).unwrap();
    publish(&bucket, &[("a.json".to_owned(), content(1))]).await.unwrap();
    publish(&bucket, &[("b.json".to_owned(), content(1))]).await.unwrap();
    assert!(others.iter().all(|path| std::fs::read_to_string(path).unwrap() == "theirs"));
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path().join("monitoring")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["a.json", "b.json", "notes.txt"]);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Bucket::folder(&folder.path().join("no/such")).err().unwrap();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("no/such; create it"), "{error}");
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_whole_objects_and_the_next_round_ends_it() {
    let old: Vec<_> = (0..4).map(|file| (format!("{file}.json"), content(file))).collect();
    let new: Vec<_> = (0..5).map(|file| (format!("{file}.json"), content(file + 10))).collect();
    // Five objects and the index: the sixth write is the last.
    for writes in 0..6 {
        let store = Arc::new(Failing::new());
        let bucket = Bucket::over(Arc::clone(&store) as _, "memory:");
        publish(&bucket, &old).await.unwrap();
        store.left.store(writes, Ordering::SeqCst);
        let error = publish(&bucket, &new).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        for (file, (name, after)) in new.iter().enumerate() {
            let found = text(&bucket, &format!("monitoring/{name}")).await;
            let before = old.get(file).map(|(_, before)| before.clone());
            assert_eq!(found, if file < writes { Some(after.clone()) } else { before }, "{name} after {writes} writes");
        }
        store.left.store(usize::MAX, Ordering::SeqCst);
        let tally = publish(&bucket, &new).await.unwrap();
        assert_eq!((tally.written, tally.unchanged), (5 - writes as u64, writes as u64));
        for (name, entry) in index(&bucket).await.objects {
            assert!(same(text(&bucket, &name).await.unwrap().as_bytes(), &entry.sha256), "{name}");
        }
    }
}

/// Memory that fails after so many more writes, and knows of no copies and removals.
#[derive(Debug)]
pub(super) struct Failing {
    inner: InMemory,
    pub(super) left: AtomicUsize,
}

impl Failing {
    pub(super) fn new() -> Self {
        Self { inner: InMemory::new(), left: AtomicUsize::new(usize::MAX) }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory that fails")
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(object_store::Error::Generic { store: "memory", source: "it crashed".into() });
        }
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        panic!("{to} is written in parts")
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        panic!("something is removed")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> object_store::Result<()> {
        panic!("{from} is copied to {to}")
    }
}
