//! A `BigQuery` project behind a data source: one engine, or one for each caller whose login is
//! forwarded. Callers share connections and limits, and no answers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use weir_plan::{Descriptors, Result, Scope};

use crate::config::{BigQueryConfig, ForwardedToken};
use crate::engine::{Engine, EngineSettings, Shared};
use crate::source::Source;
use crate::source::bigquery::{BigQuery, CallerTokens, Forwarded};
use crate::source::limited::{Limited, Limits};

/// Callers whose engines are kept; the one that has not asked for the longest time goes first. Its
/// answers stay in the store, under its scope.
const MOST_CALLERS: usize = 1_000;

/// Who asks, and with what.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The user's name at the host, where there is one.
    pub user: Option<String>,
    /// The tokens that the host forwards.
    pub tokens: CallerTokens,
}

/// A connected project.
pub(super) struct Connected {
    source: Arc<BigQuery>,
    limited: Arc<Limited>,
    settings: EngineSettings,
    own: Arc<Engine>,
    forwarded: Option<ForwardedToken>,
    callers: Mutex<Callers>,
}

#[derive(Default)]
struct Callers {
    engines: HashMap<String, CallerEngine>,
    requests: u64,
}

struct CallerEngine {
    login: Arc<Forwarded>,
    engine: Arc<Engine>,
    /// The number of its latest request.
    request: u64,
}

impl Connected {
    /// Connects a project, called `name` in the ledger.
    ///
    /// # Errors
    /// Those of [`BigQuery::connect_at`].
    pub(super) async fn new(name: &str, config: &BigQueryConfig, shared: &Shared) -> Result<Self> {
        let source = Arc::new(BigQuery::connect_at(config, &shared.clock).await?);
        let limited = Arc::new(Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default()));
        let mut descriptors = Descriptors::ready_made();
        descriptors.extend(config.descriptors.iter().cloned());
        let settings = EngineSettings {
            name: Some(name.to_owned()),
            scope: config.scope(),
            deadline: config.deadline,
            maximum_bytes_billed: config.maximum_bytes_billed,
            priority: config.priority,
            job_timeout: config.job_timeout,
            price: config.price.clone(),
            descriptors: Arc::new(descriptors),
            budget: config.budget,
            local: Arc::new(config.local.clone()),
        };
        let own = Engine::new(Arc::clone(&limited) as Arc<dyn Source>, settings.clone(), shared.clone());
        let forwarded = config.login.forwarded();
        Ok(Self { source, limited, settings, own, forwarded, callers: Mutex::default() })
    }

    /// The engine that nobody in particular asks.
    pub(super) fn own(&self) -> &Arc<Engine> {
        &self.own
    }

    /// The engine for a caller of the data source called `uid`.
    ///
    /// # Errors
    /// `Unauthenticated` if the caller lacks the token that is forwarded.
    pub(super) fn engine(&self, uid: &str, caller: &Caller, shared: &Shared) -> Result<Arc<Engine>> {
        let Some(token) = self.forwarded else { return Ok(Arc::clone(&self.own)) };
        let token = caller.tokens.required(token)?;
        // Answers for a token without a user are kept as long as the token lives, and for it alone.
        let user = caller.user.clone().unwrap_or_else(|| format!("/{:x}", Sha256::digest(&token.0)));
        let mut callers = self.callers.lock();
        callers.requests += 1;
        let request = callers.requests;
        if let Some(known) = callers.engines.get_mut(&user) {
            known.request = request;
            known.login.renew(caller.tokens.clone());
            return Ok(Arc::clone(&known.engine));
        }
        let login = Arc::<Forwarded>::default();
        login.renew(caller.tokens.clone());
        let Some(source) = self.source.on_behalf(&login) else { return Ok(Arc::clone(&self.own)) };
        let scope = Scope(serde_json::json!([self.settings.scope.0, uid, user]).to_string());
        // What is kept for one caller would be fetched again for each.
        let settings = EngineSettings { scope, local: Arc::default(), ..self.settings.clone() };
        let engine = Engine::new(Arc::new(self.limited.round(Arc::new(source))), settings, shared.clone());
        callers.make_room();
        callers.engines.insert(user, CallerEngine { login, engine: Arc::clone(&engine), request });
        Ok(engine)
    }
}

impl Callers {
    fn make_room(&mut self) {
        if self.engines.len() < MOST_CALLERS {
            return;
        }
        let longest_ago = self.engines.iter().min_by_key(|(_, known)| known.request).map(|(user, _)| user.clone());
        if let Some(user) = longest_ago {
            self.engines.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use weir_plan::{Kind, Query, Timestamp};

    use crate::app::App;
    use crate::batches::samples::batches;
    use crate::cache::StoreSettings;
    use crate::clock::{Clock, ManualClock};
    use crate::config::{Login, Secret};
    use crate::engine::{Door, Status};
    use crate::source::fake::{CallKind, FakeConfig, FakeServer, Gate, JobRule};
    use crate::source::scripted::Scripted;

    struct Rig {
        fake: FakeServer,
        app: App,
    }

    impl Rig {
        /// A server whose every job has another answer: 1, 2, 3 …
        async fn start() -> Self {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::saturating(1_704_067_200_000_000)));
            let jobs = AtomicI64::new(0);
            let source = Scripted::new(move |_, number| {
                let answer = if number == 0 { 0 } else { jobs.fetch_add(1, Ordering::SeqCst) + 1 };
                Ok(batches(vec![("n", Arc::new(Int64Array::from(vec![answer])) as ArrayRef)]))
            });
            let config = FakeConfig { require_token: true, ..FakeConfig::default() };
            let fake = FakeServer::start(Arc::new(source), Arc::clone(&clock), config).await.unwrap();
            Self { fake, app: App::new(StoreSettings::of(1 << 20), clock, Duration::from_secs(1)) }
        }

        async fn engine(&self, uid: &str, caller: &Caller) -> Result<Arc<Engine>> {
            let stand_in = BigQueryConfig::stand_in("p", self.fake.rest_url());
            let config = BigQueryConfig { login: Login::Forwarded, ..stand_in };
            self.app.instance(uid, 1, caller, || Ok(config)).await
        }

        async fn ask(&self, uid: &str, caller: &Caller) -> Result<(i64, Status)> {
            let answer = self.engine(uid, caller).await?.answer(&Query::new("SELECT n"), Door::Grafana).await?;
            let batch = answer.batches.concat()?;
            Ok((batch.column(0).as_primitive::<Int64Type>().value(0), answer.provenance.status))
        }

        fn caller(&self, user: Option<&str>, principal: &str) -> Caller {
            let access = Some(Secret(self.fake.issue_token(principal)));
            Caller { user: user.map(str::to_owned), tokens: CallerTokens { access, id: None } }
        }
    }

    #[tokio::test]
    async fn callers_never_see_each_others_answers() {
        let rig = Rig::start().await;
        let (ada, grace) = (rig.caller(Some("ada"), "ada@g"), rig.caller(Some("grace"), "grace@g"));
        assert_eq!(rig.ask("1/a", &ada).await.unwrap(), (1, Status::Miss));
        assert_eq!(rig.ask("1/a", &grace).await.unwrap(), (2, Status::Miss));
        assert_eq!(rig.ask("1/a", &ada).await.unwrap(), (1, Status::Hit));
        assert_eq!(rig.ask("1/a", &grace).await.unwrap(), (2, Status::Hit));
        assert_eq!(rig.ask("1/b", &ada).await.unwrap(), (3, Status::Miss), "another data source");
        let renewed = rig.caller(Some("ada"), "ada@g");
        assert_eq!(rig.ask("1/a", &renewed).await.unwrap(), (1, Status::Hit), "the same user with a new token");
        let inserts = rig.fake.calls_of(CallKind::Insert);
        let principals: Vec<_> = inserts.iter().map(|call| call.principal.as_deref().unwrap()).collect();
        assert_eq!(principals, ["ada@g", "grace@g", "ada@g"]);
        let mut ids: Vec<_> = inserts.iter().map(|call| call.job_id.clone().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3, "jobs of different callers have different ids");
    }

    #[tokio::test]
    async fn flights_of_callers_do_not_join() {
        let rig = Rig::start().await;
        let gate = Gate::new();
        rig.fake.script().jobs(usize::MAX, JobRule::new().held_by(&gate));
        let (ada, grace) = (rig.caller(Some("ada"), "ada@g"), rig.caller(Some("grace"), "grace@g"));
        let opening = async {
            rig.fake.until(|_, runs| runs.len() == 2).await;
            gate.open();
        };
        let answers = futures::future::join3(rig.ask("1/a", &ada), rig.ask("1/a", &grace), opening).await;
        let (ada, grace) = (answers.0.unwrap(), answers.1.unwrap());
        assert_ne!(ada.0, grace.0);
        assert_eq!((ada.1, grace.1), (Status::Miss, Status::Miss));
    }

    #[tokio::test]
    async fn a_request_without_its_token_is_refused_whatever_is_stored() {
        let rig = Rig::start().await;
        let ada = rig.caller(Some("ada"), "ada@g");
        rig.ask("1/a", &ada).await.unwrap();
        let id = CallerTokens { access: None, id: Some(Secret("id".to_owned())) };
        for tokens in [CallerTokens::default(), id] {
            let error = rig.ask("1/a", &Caller { tokens, ..ada.clone() }).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unauthenticated);
            assert!(error.message().contains("oauthPassThru"), "{error}");
        }
        assert_eq!(rig.fake.jobs_run().len(), 1);
    }

    #[tokio::test]
    async fn a_token_without_a_user_is_a_caller_of_its_own() {
        let rig = Rig::start().await;
        let (first, second) = (rig.caller(None, "ada@g"), rig.caller(None, "grace@g"));
        assert_eq!(rig.ask("1/a", &first).await.unwrap(), (1, Status::Miss));
        assert_eq!(rig.ask("1/a", &second).await.unwrap(), (2, Status::Miss));
        assert_eq!(rig.ask("1/a", &first).await.unwrap(), (1, Status::Hit));
    }

    #[tokio::test]
    async fn a_token_that_expired_does_not_outlive_its_renewal() {
        let rig = Rig::start().await;
        let ada = rig.caller(Some("ada"), "ada@g");
        rig.fake.revoke_tokens();
        let error = rig.ask("1/a", &ada).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
        assert_eq!(rig.ask("1/a", &rig.caller(Some("ada"), "ada@g")).await.unwrap().1, Status::Miss);
    }

    #[test]
    fn the_caller_that_has_not_asked_for_the_longest_time_makes_room() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::saturating(0)));
        let app = App::new(StoreSettings::of(1 << 20), clock, Duration::from_secs(1));
        let source: Arc<dyn Source> = Arc::new(Scripted::new(|_, _| Err(weir_plan::Error::invalid("none"))));
        let engine = Engine::new(source, EngineSettings::default(), app.shared.clone());
        let mut callers = Callers::default();
        for request in 0..MOST_CALLERS as u64 + 5 {
            callers.make_room();
            let known = CallerEngine { login: Arc::default(), engine: Arc::clone(&engine), request };
            callers.engines.insert(format!("user {request}"), known);
        }
        assert_eq!(callers.engines.len(), MOST_CALLERS);
        assert!(!callers.engines.contains_key("user 4") && callers.engines.contains_key("user 5"));
    }
}
