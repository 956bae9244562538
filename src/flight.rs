//! One running fetch per key: joined by every caller, ended when nobody waits any more. A flight may
//! carry several keys, as one job fetches several segments.
//!
//! It knows neither what is fetched nor where it is kept; the future that it runs stores its own
//! result. (moka's `try_get_with` runs the query again when its first caller is dropped.)

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
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
    /// The flight that carries a key, and the key's place in it.
    seats: HashMap<K, (u64, usize)>,
    flights: HashMap<u64, Flight<K, V>>,
    next_id: u64,
}

/// What a flight brings: a value for each of its keys, in their order, or one error for all.
type Cargo<V> = Result<Arc<[V]>>;

struct Flight<K, V> {
    keys: Vec<K>,
    waiters: usize,
    /// Counts the times that the last waiter left, so that an old grace period ends nothing new.
    departures: u64,
    result: watch::Receiver<Option<Cargo<V>>>,
    task: AbortHandle,
}

/// A fetch to start: places of the keys it is for, and what brings their values in that order.
pub struct Departure<V> {
    /// Indices into the keys that were asked for.
    pub places: Vec<usize>,
    /// Brings a value for each of the places.
    pub fetch: BoxFuture<'static, Result<Vec<V>>>,
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
        let running = Running { seats: HashMap::new(), flights: HashMap::new(), next_id: 0 };
        Self { running: Arc::new(Mutex::new(running)), grace }
    }

    /// Waits for the flight of `key`, starting it with `start` where there is none.
    ///
    /// Dropping the future takes one waiter away; a flight whose last waiter left is aborted after
    /// the grace, which drops the started future.
    pub async fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Landed<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let start = |places: Vec<usize>| {
            let fetch = start();
            vec![Departure { places, fetch: Box::pin(async move { Ok(vec![fetch.await?]) }) }]
        };
        let landed = self.join_all(&[key], start).await.pop();
        landed.unwrap_or_else(|| Landed { result: Err(ended()), joined: false })
    }

    /// Waits for the flights of all `keys`, which differ; in their order. Those that no flight
    /// carries are claimed at one stroke: `start` is told their places and divides them among new
    /// flights. It must be quick, and what it leaves out is an error to its caller.
    ///
    /// Dropping the future does as with [`Flights::join`].
    pub async fn join_all(&self, keys: &[K], start: impl FnOnce(Vec<usize>) -> Vec<Departure<V>>) -> Vec<Landed<V>> {
        let mut boarded = self.board(keys, start);
        for waiter in &mut boarded.waiters {
            // A closed channel says the same as one without a result.
            let _ = waiter.result.wait_for(Option::is_some).await;
        }
        let landed = boarded.seats.iter().map(|seat| {
            let Some(seat) = seat else { return Landed { result: Err(ended()), joined: false } };
            let result =
                boarded.waiters.iter().find(|waiter| waiter.id == seat.flight).map(|it| it.result.borrow().clone());
            let result = match result.flatten() {
                Some(Ok(cargo)) => cargo.get(seat.place).cloned().ok_or_else(ended),
                Some(Err(error)) => Err(error),
                None => Err(ended()),
            };
            Landed { result, joined: seat.joined }
        });
        landed.collect()
    }

    /// Ends every running flight, and waits until the started futures are dropped; callers get an
    /// error. For the end of the process.
    pub async fn abort_all(&self) {
        let ending = |flight: &Flight<K, V>| (flight.task.clone(), flight.result.clone());
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
        self.running.lock().seats.contains_key(key)
    }

    /// Number of running flights.
    pub fn len(&self) -> usize {
        self.running.lock().flights.len()
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn board(&self, keys: &[K], start: impl FnOnce(Vec<usize>) -> Vec<Departure<V>>) -> Boarded<K, V> {
        let mut running = self.running.lock();
        let unclaimed: Vec<usize> =
            (0..keys.len()).filter(|place| !running.seats.contains_key(&keys[*place])).collect();
        let first_new = running.next_id;
        if !unclaimed.is_empty() {
            for Departure { places, fetch } in start(unclaimed) {
                let keys = places.iter().map(|place| keys[*place].clone()).collect();
                self.depart(&mut running, keys, fetch);
            }
        }
        let mut waiters: Vec<Waiter<K, V>> = Vec::new();
        let mut seats = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(&(flight, place)) = running.seats.get(key) else {
                seats.push(None);
                continue;
            };
            seats.push(Some(Seat { flight, place, joined: flight < first_new }));
            if waiters.iter().all(|waiter| waiter.id != flight)
                && let Some(found) = running.flights.get_mut(&flight)
            {
                found.waiters += 1;
                let (result, running) = (found.result.clone(), Arc::clone(&self.running));
                waiters.push(Waiter { running, id: flight, result, grace: self.grace });
            }
        }
        Boarded { waiters, seats }
    }

    fn depart(&self, running: &mut Running<K, V>, keys: Vec<K>, fetch: BoxFuture<'static, Result<Vec<V>>>) {
        let id = running.next_id;
        running.next_id += 1;
        let (sender, result) = watch::channel(None);
        let landing = Landing { running: Arc::clone(&self.running), id };
        let task = tokio::spawn(async move {
            let landing = landing;
            let result = fetch.await.map(Arc::from);
            // Off the map first: a caller that comes now finds the stored answer.
            drop(landing);
            sender.send_replace(Some(result));
        });
        for (place, key) in keys.iter().enumerate() {
            running.seats.insert(key.clone(), (id, place));
        }
        let flight = Flight { keys, waiters: 0, departures: 0, result, task: task.abort_handle() };
        running.flights.insert(id, flight);
    }
}

fn ended() -> Error {
    Error::internal("a fetch ended without a result")
}

impl<K: Eq + Hash, V> Running<K, V> {
    fn remove(&mut self, id: u64) -> Option<Flight<K, V>> {
        let flight = self.flights.remove(&id)?;
        for key in &flight.keys {
            self.seats.remove(key);
        }
        Some(flight)
    }
}

/// Takes the flight off the map when its task ends, by a panic too.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<Running<K, V>>>,
    id: u64,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running.lock().remove(self.id);
    }
}

/// A caller of several flights, and where it finds the value of each of its keys.
struct Boarded<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    waiters: Vec<Waiter<K, V>>,
    seats: Vec<Option<Seat>>,
}

struct Seat {
    flight: u64,
    place: usize,
    joined: bool,
}

struct Waiter<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    running: Arc<Mutex<Running<K, V>>>,
    id: u64,
    result: watch::Receiver<Option<Cargo<V>>>,
    grace: Duration,
}

impl<K, V> Drop for Waiter<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        let mut running = self.running.lock();
        let Some(flight) = running.flights.get_mut(&self.id) else { return };
        flight.waiters -= 1;
        if flight.waiters > 0 {
            return;
        }
        flight.departures += 1;
        let departures = flight.departures;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let flight = running.remove(self.id);
            drop(running);
            if let Some(flight) = flight {
                flight.task.abort();
            }
            return;
        };
        drop(running);
        let (running, id, grace) = (Arc::clone(&self.running), self.id, self.grace);
        runtime.spawn(async move {
            tokio::time::sleep(grace).await;
            let mut running = running.lock();
            let left =
                running.flights.get(&id).is_some_and(|flight| flight.waiters == 0 && flight.departures == departures);
            let flight = if left { running.remove(id) } else { None };
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

    /// A departure that brings its places' numbers once `landing` says so.
    fn numbered(places: Vec<usize>, landing: oneshot::Receiver<()>) -> Departure<u32> {
        let values: Vec<u32> = places.iter().map(|place| u32::try_from(*place).unwrap()).collect();
        let fetch = Box::pin(async move { landing.await.map(|()| values).map_err(|_| ended()) });
        Departure { places, fetch }
    }

    #[tokio::test(start_paused = true)]
    async fn overlapping_callers_fetch_each_key_once() {
        let flights = flights();
        let (land_first, first_landing) = oneshot::channel();
        let (land_second, second_landing) = oneshot::channel();
        let mut first = Box::pin(flights.join_all(&["a", "b", "c"], |places| {
            assert_eq!(places, [0, 1, 2]);
            vec![numbered(places, first_landing)]
        }));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.join_all(&["b", "c", "d", "e"], |places| {
            assert_eq!(places, [2, 3], "only what nobody fetches");
            vec![numbered(places, second_landing)]
        }));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(flights.len(), 2);
        drop(first);
        tokio::time::sleep(GRACE * 2).await;
        land_first.send(()).unwrap();
        land_second.send(()).unwrap();
        let landed: Vec<_> = second.await.into_iter().map(|it| (it.result.unwrap(), it.joined)).collect();
        assert_eq!(landed, [(1, true), (2, true), (2, false), (3, false)]);
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_flights_of_one_caller_fail_for_themselves() {
        let flights = flights();
        let landed = flights.join_all(&["a", "b", "c"], |_| {
            let failing = Box::pin(async { Err(Error::invalid("no")) });
            let short = Box::pin(async { Ok(vec![]) });
            vec![Departure { places: vec![0], fetch: failing }, Departure { places: vec![1], fetch: short }]
        });
        let errors: Vec<_> = landed.await.into_iter().map(|it| it.result.unwrap_err().to_string()).collect();
        assert!(errors[0].contains("no"), "{errors:?}");
        assert!(errors[1..].iter().all(|error| !error.contains("no,")), "{errors:?}");
        assert!(flights.is_empty());
    }
}
