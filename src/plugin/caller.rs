//! Who asks: the user of a request's context, and the tokens that Grafana forwards for data sources with
//! `oauthPassThru`.
//!
//! They arrive as headers called `Authorization` and `X-Id-Token` (`http_headers.go` of Grafana's Go
//! SDK). No other module reads those.

use grafana_plugin_sdk::pluginv2::{CallResourceRequest, CheckHealthRequest, PluginContext, QueryDataRequest};

use crate::app::Caller;
use crate::config::Secret;
use crate::source::bigquery::CallerTokens;

/// A request of Grafana's for a data source.
pub(super) trait Asking {
    /// Its context.
    fn context(&self) -> Option<&PluginContext>;
    /// Its headers' names and first values.
    fn headers(&self) -> impl Iterator<Item = (&str, &str)>;
}

impl Asking for QueryDataRequest {
    fn context(&self) -> Option<&PluginContext> {
        self.plugin_context.as_ref()
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Asking for CheckHealthRequest {
    fn context(&self) -> Option<&PluginContext> {
        self.plugin_context.as_ref()
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Asking for CallResourceRequest {
    fn context(&self) -> Option<&PluginContext> {
        self.plugin_context.as_ref()
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, list)| Some((name.as_str(), list.values.first()?.as_str())))
    }
}

/// Who sent a request.
pub(super) fn caller(request: &impl Asking) -> Caller {
    let user = request.context().and_then(|context| context.user.as_ref()).map(|user| user.login.trim().to_owned());
    let mut tokens = CallerTokens::default();
    for (name, value) in request.headers() {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("http_").unwrap_or(&name) {
            "authorization" => tokens.access = bearer(value).and_then(token),
            "x-id-token" => tokens.id = token(value),
            _ => {}
        }
    }
    Caller { user: user.filter(|user| !user.is_empty()), tokens }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// What can be a token: it is put into a header again.
fn token(value: &str) -> Option<Secret> {
    let value = value.trim();
    (!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grafana_plugin_sdk::pluginv2::{StringList, User};

    fn request(headers: &[(&str, &str)]) -> QueryDataRequest {
        QueryDataRequest {
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn tokens_are_read_as_grafana_sends_them() {
        let check = |headers: &[(&str, &str)], access: Option<&str>, id: Option<&str>| {
            let tokens = caller(&request(headers)).tokens;
            let text = |token: Option<Secret>| token.map(|token| token.0);
            assert_eq!((text(tokens.access).as_deref(), text(tokens.id).as_deref()), (access, id), "{headers:?}");
        };
        check(&[], None, None);
        check(&[("Authorization", "Bearer ya29.a"), ("X-Id-Token", "eyJ.b")], Some("ya29.a"), Some("eyJ.b"));
        check(&[("http_authorization", "bearer ya29.a")], Some("ya29.a"), None);
        check(&[("Authorization", "Basic dTpw")], None, None);
        check(&[("Authorization", "Bearer ")], None, None);
        check(&[("Authorization", "Bearer a\r\nX: y")], None, None);
        check(&[("X-ID-Token", ""), ("Cookie", "a=b")], None, None);
    }

    #[test]
    fn every_kind_of_request_tells_its_caller() {
        let context =
            PluginContext { user: Some(User { login: "ada".to_owned(), ..Default::default() }), ..Default::default() };
        let value = StringList { values: vec!["Bearer t".to_owned()] };
        let resource = CallResourceRequest {
            plugin_context: Some(context.clone()),
            headers: [("Authorization".to_owned(), value)].into(),
            ..Default::default()
        };
        let health = CheckHealthRequest {
            plugin_context: Some(context),
            headers: [("Authorization".to_owned(), "Bearer t".to_owned())].into(),
        };
        for caller in [caller(&resource), caller(&health)] {
            assert_eq!((caller.user.as_deref(), caller.tokens.access), (Some("ada"), Some(Secret("t".to_owned()))));
        }
        assert_eq!(caller(&request(&[])).user, None);
    }

    #[test]
    fn a_caller_shows_no_token() {
        let caller = caller(&request(&[("Authorization", "Bearer hunter2"), ("X-Id-Token", "hunter2")]));
        assert!(!format!("{caller:?}").contains("hunter2"));
    }
}
