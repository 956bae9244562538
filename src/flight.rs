//! One running fetch per key: joined by every caller, ended when nobody waits any more.
//!
//! It knows neither what is fetched nor where it is kept; the future that it runs stores its own
//! result. (moka's `try_get_with` runs the query again when its first caller is dropped.)

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use weir_plan::{Error, Result};

/// All running fetches by key.
pub struct Flights<K, V> {
    running: Arc<Mutex<Running<K, V>>>,
    grace: Duration,
}

struct Running<K, V> {
    flights: HashMap<K, Flight<V>>,
    next_id: u64,
}

struct Flight<V> {
    id: u64,
    waiters: usize,
    /// Counts the times that the last waiter left, so that an old grace period ends nothing new.
    departures: u64,
    result: watch::Receiver<Option<Result<V>>>,
    task: AbortHandle,
}

/// What a caller got from a flight.
#[derive(Debug)]
pub struct Landed<V> {
    /// The result that every caller of the flight gets.
    pub result: Result<V>,
    /// Whether the flight was already under way.
    pub joined: bool,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No flights; one that nobody waits for ends after `grace`.
    pub fn new(grace: Duration) -> Self {
        Self { running: Arc::new(Mutex::new(Running { flights: HashMap::new(), next_id: 0 })), grace }
    }

    /// Waits for the flight of `key`, starting it with `start` where there is none.
    ///
    /// Dropping the future takes one waiter away; a flight whose last waiter left is aborted after
    /// the grace, which drops the started future.
    pub async fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Landed<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let (mut waiter, joined) = self.board(key, start);
        let result = match waiter.result.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(ended())),
            Err(_) => Err(ended()),
        };
        Landed { result, joined }
    }

    /// Ends every running flight, and waits until the started futures are dropped; callers get an
    /// error. For the end of the process.
    pub async fn abort_all(&self) {
        let ending = |flight: &Flight<V>| (flight.task.clone(), flight.result.clone());
        let ending: Vec<_> = self.running.lock().flights.values().map(ending).collect();
        // Without the lock: an aborted task takes itself off the map.
        for (task, _) in &ending {
            task.abort();
        }
        for (_, mut result) in ending {
            // The task owns the sender, and drops it after the future.
            while result.changed().await.is_ok() {}
        }
    }

    /// Whether a flight of `key` is under way.
    pub fn runs(&self, key: &K) -> bool {
        self.running.lock().flights.contains_key(key)
    }

    /// Number of running flights.
    pub fn len(&self) -> usize {
        self.running.lock().flights.len()
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn board<F>(&self, key: K, start: impl FnOnce() -> F) -> (Waiter<K, V>, bool)
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut running = self.running.lock();
        let id = running.next_id;
        let (flight, joined) = match running.flights.entry(key.clone()) {
            Entry::Occupied(entry) => (entry.into_mut(), true),
            Entry::Vacant(entry) => {
                let (sender, result) = watch::channel(None);
                let landing = Landing { running: Arc::clone(&self.running), key: key.clone(), id };
                let fetch = start();
                let task = tokio::spawn(async move {
                    let landing = landing;
                    let result = fetch.await;
                    // Off the map first: a caller that comes now finds the stored answer.
                    drop(landing);
                    sender.send_replace(Some(result));
                });
                (entry.insert(Flight { id, waiters: 0, departures: 0, result, task: task.abort_handle() }), false)
            }
        };
        flight.waiters += 1;
        let (id, result) = (flight.id, flight.result.clone());
        if !joined {
            running.next_id += 1;
        }
        (Waiter { running: Arc::clone(&self.running), key, id, result, grace: self.grace }, joined)
    }
}

fn ended() -> Error {
    Error::internal("a fetch ended without a result")
}

/// Takes the flight off the map when its task ends, by a panic too.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<Running<K, V>>>,
    key: K,
    id: u64,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        remove(&mut self.running.lock(), &self.key, self.id);
    }
}

fn remove<K: Eq + Hash, V>(running: &mut Running<K, V>, key: &K, id: u64) -> Option<Flight<V>> {
    match running.flights.get(key) {
        Some(flight) if flight.id == id => running.flights.remove(key),
        _ => None,
    }
}

struct Waiter<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    running: Arc<Mutex<Running<K, V>>>,
    key: K,
    id: u64,
    result: watch::Receiver<Option<Result<V>>>,
    grace: Duration,
}

impl<K, V> Drop for Waiter<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        let mut running = self.running.lock();
        let Some(flight) = running.flights.get_mut(&self.key).filter(|flight| flight.id == self.id) else { return };
        flight.waiters -= 1;
        if flight.waiters > 0 {
            return;
        }
        flight.departures += 1;
        let departures = flight.departures;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let flight = remove(&mut running, &self.key, self.id);
            drop(running);
            if let Some(flight) = flight {
                flight.task.abort();
            }
            return;
        };
        drop(running);
        let (running, key, id, grace) = (Arc::clone(&self.running), self.key.clone(), self.id, self.grace);
        runtime.spawn(async move {
            tokio::time::sleep(grace).await;
            let mut running = running.lock();
            let left = running
                .flights
                .get(&key)
                .is_some_and(|flight| flight.id == id && flight.waiters == 0 && flight.departures == departures);
            let flight = if left { remove(&mut running, &key, id) } else { None };
            drop(running);
            if let Some(flight) = flight {
                flight.task.abort();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    const GRACE: Duration = Duration::from_secs(2);

    fn flights() -> Arc<Flights<&'static str, u32>> {
        Arc::new(Flights::new(GRACE))
    }

    struct CountsDrop(Arc<AtomicUsize>);

    impl Drop for CountsDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_once_share_one_fetch() {
        let flights = flights();
        let started = Arc::new(AtomicUsize::new(0));
        let callers = (0..100).map(|_| {
            let (flights, started) = (Arc::clone(&flights), Arc::clone(&started));
            async move {
                flights
                    .join("key", || async move {
                        started.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Ok(7)
                    })
                    .await
            }
        });
        let landed = futures::future::join_all(callers).await;
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert!(landed.iter().all(|landed| matches!(landed.result, Ok(7))));
        assert_eq!(landed.iter().filter(|landed| !landed.joined).count(), 1);
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_survives_the_caller_that_started_it() {
        let flights = flights();
        let (land, landing) = oneshot::channel();
        let mut first = Box::pin(flights.join("key", || async { landing.await.map_err(|_| ended()) }));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.join("key", || async { panic!("a second fetch") }));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        tokio::time::sleep(GRACE * 3).await;
        land.send(5).unwrap();
        assert_eq!(second.await.result.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_that_nobody_waits_for_is_dropped_after_the_grace() {
        let flights = flights();
        let dropped = Arc::new(AtomicUsize::new(0));
        let guard = CountsDrop(Arc::clone(&dropped));
        let mut only = Box::pin(flights.join("key", || async move {
            let _guard = guard;
            std::future::pending().await
        }));
        assert!(futures::poll!(&mut only).is_pending());
        drop(only);
        tokio::time::sleep(GRACE / 2).await;
        assert_eq!((flights.len(), dropped.load(Ordering::SeqCst)), (1, 0));
        tokio::time::sleep(GRACE).await;
        assert_eq!((flights.len(), dropped.load(Ordering::SeqCst)), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_within_the_grace_keeps_the_flight() {
        let flights = flights();
        let (land, landing) = oneshot::channel();
        let mut first = Box::pin(flights.join("key", || async { landing.await.map_err(|_| ended()) }));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        tokio::time::sleep(GRACE / 2).await;
        let mut second = Box::pin(flights.join("key", || async { panic!("a second fetch") }));
        assert!(futures::poll!(&mut second).is_pending());
        tokio::time::sleep(GRACE * 2).await;
        land.send(5).unwrap();
        assert_eq!(second.await.result.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_every_waiter_and_the_next_caller_starts_anew() {
        let flights = flights();
        let landed = flights.join("key", || async { panic!("defect") }).await;
        assert_eq!(landed.result.unwrap_err().kind(), weir_plan::Kind::Internal);
        assert_eq!(flights.join("key", || async { Ok(1) }).await.result.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let flights = flights();
        assert!(flights.join("key", || async { Err(Error::invalid("no")) }).await.result.is_err());
        assert_eq!(flights.join("key", || async { Ok(1) }).await.result.unwrap(), 1);
    }
}
