//! Histories of questions to the planner over a moving clock, judged by the rows alone.
//!
//! Long: `PROPTEST_CASES=1000000 cargo test --release -p weir-plan --test histories`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cases;
mod checks;
mod engine;
mod oracle;
mod source;
mod tables;
mod world;

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use weir_plan::extent::{DAY, HOUR, MINUTE, SECOND};
use weir_plan::{Extent, Query, Scope, Step, TimeType, Timestamp};

use engine::{Asked, Engine, Fate};
use source::{Kind, Source};
use world::{Shape, World};

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Pass(i64),
    /// Time passes up to so many µs round the next midnight.
    Midnight(i64),
    /// A row of so many µs ago arrives.
    Arrive {
        ago: i64,
        value: i64,
    },
    /// A partition of so many µs ago is written anew.
    Rewrite {
        ago: i64,
        salt: i64,
    },
    /// It is taken away.
    Delete {
        ago: i64,
    },
    Ask(Ask),
    Evict(u8),
    Restart,
}

/// A question, in the measure of the source's partitions.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Ask {
    /// Parts of a thousand of the reach of a question: where it ends, and how long it is.
    end: i64,
    length: i64,
    step: usize,
    raw: bool,
    alert: bool,
    scoped: bool,
    delay: u64,
    meanwhile: bool,
    fails: bool,
    /// Asks for both halves too.
    halves: bool,
}

fn ask() -> impl Strategy<Value = Ask> {
    let flags = (any::<u8>(), any::<u8>()).prop_map(|(one, other)| [one % 8, one / 8 % 8, other % 16, other / 16]);
    (-40_i64..1000, 1_i64..700, 0_usize..7, 0_u64..12, flags).prop_map(|(end, length, step, delay, flags)| Ask {
        end: end.max(0) - if end < -20 { 100 } else { 0 },
        length,
        step,
        raw: flags[0] == 0,
        alert: flags[1] == 0,
        scoped: flags[1] == 1,
        delay,
        meanwhile: flags[2] == 0,
        fails: flags[2] == 1,
        halves: flags[3] == 0,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let pass = prop_oneof![SECOND..2 * MINUTE, MINUTE..2 * HOUR, HOUR..30 * HOUR];
    prop_oneof![
        5 => pass.prop_map(Event::Pass),
        2 => (-20 * SECOND..20 * MINUTE).prop_map(Event::Midnight),
        3 => (0..9 * MINUTE, 0_i64..9).prop_map(|(ago, value)| Event::Arrive { ago, value }),
        1 => (0..60 * HOUR, 0_i64..9).prop_map(|(ago, value)| Event::Arrive { ago, value }),
        2 => (0..5 * DAY, 1_i64..99).prop_map(|(ago, salt)| Event::Rewrite { ago, salt }),
        1 => (0..6 * DAY).prop_map(|ago| Event::Delete { ago }),
        12 => ask().prop_map(Event::Ask),
        1 => (1_u8..4).prop_map(Event::Evict),
        1 => Just(Event::Restart),
    ]
}

/// A history under way.
struct History<'s> {
    world: World<'s>,
    engine: Engine,
    now: Timestamp,
}

impl<'s> History<'s> {
    fn new(source: &'s Source) -> Self {
        Self { world: World::new(source), engine: Engine::default(), now: source::beginning() }
    }

    fn advance(&mut self, micros: i64) {
        let later = Timestamp::saturating(self.now.micros() + micros.max(0));
        // The daily job ends at four.
        let four = Duration::from_hours(4);
        let mut landing = self.now.floor(DAY).plus(four);
        while landing <= later {
            if landing > self.now && self.world.source.kind.has_daily() {
                self.world.rewrite(landing.minus(Duration::from_hours(28)), 0, landing);
            }
            landing = landing.plus(Duration::from_hours(24));
        }
        self.now = later;
    }

    fn step(&mut self, event: &Event) {
        let ago = |ago: i64| Timestamp::saturating(self.now.micros() - ago);
        match event {
            Event::Pass(micros) => {
                let since = self.now;
                self.advance(*micros);
                let time = Timestamp::saturating(self.now.micros() - (*micros).min(MINUTE));
                self.world.arrive(time.max(since), 7, self.now);
            }
            Event::Midnight(offset) => {
                let midnight = self.now.floor(DAY).plus(Duration::from_hours(24));
                self.advance(midnight.micros() + offset - self.now.micros());
            }
            Event::Arrive { ago: micros, value } => self.world.arrive(ago(*micros), *value, self.now),
            Event::Rewrite { ago: micros, salt } => self.world.rewrite(ago(*micros).floor(DAY), *salt, self.now),
            Event::Delete { ago: micros } => self.world.delete(ago(*micros), self.now),
            Event::Ask(ask) => self.ask(ask),
            Event::Evict(share) => self.engine.evict(*share),
            Event::Restart => self.engine.restart(),
        }
    }

    fn ask(&mut self, ask: &Ask) {
        let kind = self.world.source.kind;
        let steps = match (kind, kind.time_type()) {
            (_, TimeType::Date) => ["1d", "1d", "2d", "3d", "1w", "1M", "36h"],
            (Kind::Hours, _) => ["1m", "5m", "7m", "15m", "1h", "2h", "7h"],
            _ if kind.grain() == 1 => ["1m", "5m", "6h", "7h", "1d", "1w", "1M"],
            _ => ["5m", "5m", "6h", "7h", "1d", "1w", "1M"],
        };
        let step: Step = steps[ask.step].parse().unwrap();
        let reach = match (step, kind) {
            (Step::Months(_), _) => 50 * DAY,
            (Step::Micros(step), _) if step > 2 * DAY => 21 * DAY,
            (_, Kind::Hours) => 8 * HOUR,
            _ => 6 * DAY,
        };
        let end = Timestamp::saturating(self.now.micros() - ask.end * reach / 1000);
        let start = Timestamp::saturating(end.micros() - ask.length * reach / 1000);
        let shape = if ask.raw { Shape::Raw } else { Shape::Buckets(step) };
        let mut asked = Asked {
            query: question(shape, start, end, ask),
            shape,
            groups: if ask.scoped { 2 } else { 3 },
            delay: Duration::from_secs(ask.delay),
            meanwhile: ask.meanwhile.then_some(4),
            fate: if ask.fails { Fate::Failed } else { Fate::Done },
        };
        self.put(&asked);
        if ask.halves {
            asked.meanwhile = None;
            asked.fate = Fate::Done;
            asked.query.cache.max_stale = Some(Duration::ZERO);
            asked.delay = Duration::ZERO;
            self.halves(&asked);
        }
        // What happens next is after the jobs.
        self.now = self.now.plus(Duration::from_secs(ask.delay + 1));
    }

    fn put(&mut self, asked: &Asked) -> Option<engine::Answer> {
        match self.engine.ask(&mut self.world, asked, self.now) {
            Ok(answer) => {
                let is_date = self.world.source.kind.time_type() == TimeType::Date;
                assert!(asked.shape != Shape::Raw || !is_date, "a range cuts dates otherwise than parts");
                if let Some(answer) = &answer {
                    checks::answer(&self.world, asked, answer, self.now);
                } else {
                    assert_eq!(asked.fate, Fate::Failed);
                }
                checks::ledger(&self.world, &self.engine);
                answer
            }
            Err(reason) => {
                assert!(["small_range", "step_splits_column"].contains(&reason), "{reason}");
                None
            }
        }
    }

    /// At one instant, two neighbouring ranges together are their hull.
    fn halves(&mut self, asked: &Asked) {
        let Some(whole) = self.put(asked) else { return };
        let range = whole.assembly.range;
        let middle = Timestamp::saturating(range.start().micros().midpoint(range.end().micros()));
        let middle = match asked.shape {
            Shape::Raw => middle,
            Shape::Buckets(step) => oracle::bucket(step, middle),
        };
        let mut lines = vec![];
        for (start, end) in [(range.start(), middle), (middle, range.end())] {
            if start == end {
                continue;
            }
            let mut half = asked.clone();
            half.query.range = Some(Extent::new(start, end).unwrap());
            let Some(answer) = self.put(&half) else { return };
            assert_eq!(answer.assembly.range, half.query.range.unwrap());
            lines.extend(answer.lines());
        }
        assert_eq!(lines, whole.lines(), "two halves are the whole");
    }
}

/// The planner takes the text from the template.
fn question(shape: Shape, start: Timestamp, end: Timestamp, ask: &Ask) -> Query {
    let mut query = Query::new("");
    query.range = Some(Extent::new(start, end).unwrap());
    query.step = match shape {
        Shape::Raw => None,
        Shape::Buckets(step) => Some(step),
    };
    query.cache.max_stale = ask.alert.then_some(Duration::ZERO);
    query.scope = Scope(if ask.scoped { "somebody".into() } else { String::new() });
    query
}

fn history(source: &Source, events: &[Event]) {
    let mut history = History::new(source);
    for event in events {
        history.step(event);
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..14)
}

/// A quarter of `PROPTEST_CASES` for each of the four, so that all together are as many at least; said
/// to whoever lets tests print.
fn quarter() -> u32 {
    let cases = ProptestConfig::default().cases.div_ceil(4);
    let thread = std::thread::current();
    eprintln!("{cases} histories: {}", thread.name().unwrap_or_default());
    cases
}

macro_rules! histories {
    ($($(#[$doc:meta])* $name:ident($($kind:expr),+);)+) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: quarter(), ..ProptestConfig::default() })]
            $(
                $(#[$doc])*
                #[test]
                fn $name(kind in prop::sample::select(vec![$($kind),+]), events in events()) {
                    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| vec![$(Source::new($kind)),+]);
                    history(SOURCES.iter().find(|source| source.kind == kind).unwrap(), &events);
                }
            )+
        }
    };
}

histories! {
    tables_of_hours_and_days_are_answered_in_parts(Kind::Hours, Kind::Days);
    tables_of_dates_and_of_a_daily_job_are_answered_in_parts(Kind::Dates, Kind::Daily);
    views_that_are_live_after_an_instant_are_answered_in_parts(
        Kind::AfterInstant { grain: true }, Kind::AfterInstant { grain: false }
    );
    views_that_are_live_after_a_date_are_answered_in_parts(
        Kind::ByDate { dates: false }, Kind::ByDate { dates: true }
    );
}
