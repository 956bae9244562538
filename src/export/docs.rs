//! A page about the API for people, rendered from its description. It needs nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde_json::Value;

use super::openapi::DESCRIPTION;

/// The page, made once.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    // A description that does not write is served as an error by its own route.
    render(&serde_json::to_value(&*DESCRIPTION).unwrap_or_default())
});

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    code{background:#8882;padding:.1em .3em;border-radius:3px}h2{margin-top:2.5rem;border-top:1px solid #8884;\
    padding-top:1rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
    padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8883}.m{text-transform:uppercase;font-weight:700}\
    @media(prefers-color-scheme:dark){body{background:#181b1f;color:#ddd}a{color:#8ab8ff}}";

/// Serves the page.
pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'")),
    ];
    (headers, PAGE.as_str())
}

fn render(description: &Value) -> String {
    let info = &description["info"];
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1><p>{about} \
         The same for programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
        title = text(&info["title"]),
        about = text(&info["description"]),
    );
    for (path, item) in entries(&description["paths"]) {
        for (method, operation) in entries(item) {
            of_operation(&mut page, path, method, operation);
        }
    }
    page.push_str("<h2>Shapes</h2>");
    for (name, schema) in entries(&description["components"]["schemas"]) {
        let _ = write!(page, "<h3 id=\"{0}\">{0}</h3><p>{1}</p>", escaped(name), text(&schema["description"]));
        table(
            &mut page,
            entries(&schema["properties"]).map(|(name, of)| (name.clone(), kind(of), text(&of["description"]))),
        );
    }
    page.push_str("</html>\n");
    page
}

fn of_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<h2><span class=\"m\">{}</span> <code>{}</code></h2><p>{} {}</p>",
        escaped(method),
        escaped(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    table(
        page,
        parameters.map(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            (name, kind(&parameter["schema"]), text(&parameter["description"]))
        }),
    );
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = write!(page, "<p>Body: {}</p>", kind(body));
    }
    let answers = entries(&operation["responses"]).map(|(status, response)| {
        let shapes = entries(&response["content"])
            .map(|(media, content)| format!("{} {}", escaped(media), kind(&content["schema"])));
        (status.clone(), shapes.collect::<Vec<_>>().join("<br>"), text(&response["description"]))
    });
    page.push_str("<details><summary>Answers</summary>");
    table(page, answers);
    page.push_str("</details>");
}

/// A table of names, kinds (which are HTML) and descriptions.
fn table(page: &mut String, rows: impl Iterator<Item = (String, String, String)>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    page.push_str("<table>");
    for (name, kind, about) in rows {
        let _ = write!(page, "<tr><td><code>{}</code><td>{kind}<td>{about}", escaped(&name));
    }
    page.push_str("</table>");
}

/// What a schema takes, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(text).collect::<Vec<_>>().join(" | ");
    }
    if !schema["items"].is_null() {
        return format!("array of {}", kind(&schema["items"]));
    }
    if let Some(kinds) = schema["oneOf"].as_array() {
        return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        other => text(other),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_description_says_is_shown_and_never_run() {
        let page = render(&json!({
            "info": {"title": "<script>alert(1)</script>"},
            "paths": {"/a/{b}": {"get": {"summary": "Says \"b\"", "responses": {"200": {"description": "<b>"}}}}},
        }));
        assert!(page.contains("<code>/a/{b}</code>") && page.contains("Says &quot;b&quot;"), "{page}");
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn every_route_of_the_description_is_on_the_page() {
        for path in DESCRIPTION.paths.paths.keys() {
            assert!(PAGE.contains(&format!("<code>{path}</code>")), "{path}");
        }
    }
}
