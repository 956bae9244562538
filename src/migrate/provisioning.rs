//! Provisioning files and the API's forms of the same: alert rules and data sources.

use super::board::target;
use super::known::{Plugin, WEIR};
use super::report::{Finding, Item};
use super::target::{Asker, Target};
use super::walk::{Walk, is_peer, needs};
use crate::document::{Format, Node};

impl Walk<'_> {
    /// Migrates an alert rule.
    pub(super) fn rule(&mut self, rule: &Node) {
        let title = rule.text_of("title").or_else(|| rule.text_of("uid")).unwrap_or_default();
        for query in rule.get("data").into_iter().flat_map(Node::list) {
            let ref_id = query.text_of("refId").unwrap_or_default();
            let mut item = self.item(format!("alert rule {title:?}, {ref_id}"), query);
            self.rule_query(query, &mut item);
            self.keep(item);
        }
    }

    fn rule_query(&mut self, query: &Node, item: &mut Item) {
        let (uid, Some(model)) = (query.get("datasourceUid"), query.get("model")) else { return };
        if !model.is_map() {
            if model.text().is_some_and(|text| text.contains("-bigquery-datasource")) {
                needs(
                    item,
                    "text-model",
                    "its model is JSON in a text; write it as a map, or change the type in it by hand",
                );
            }
            return;
        }
        let own = model.get("datasource").filter(|node| !node.is_null());
        let of_uid = uid.and_then(Node::text).and_then(|uid| self.plugin_of_name(uid));
        let plugin = own.and_then(|own| self.plugin(Some(own))).or(of_uid);
        if own.is_some() {
            self.rewrite(own, "model.datasource", item);
        }
        if plugin.is_some_and(Plugin::is_peer) {
            self.point(uid, "datasourceUid", item);
        }
        let escaped = self.document.format == Format::Yaml;
        self.judge(Target { asker: Asker::Rule, escaped, ..target(model, None) }, plugin, own.or(uid), item);
        self.mark(model, plugin, item);
    }

    /// Migrates a data source: its type, and nothing else.
    pub(super) fn source(&mut self, source: &Node) {
        let mut item = self.item(format!("data source {:?}", source.text_of("name").unwrap_or_default()), source);
        let Some(id) = source.get("type").filter(|id| is_peer(id, &mut item)) else { return };
        self.set(id, WEIR, "type", &mut item);
        if let Some(settings) = source.get("jsonData") {
            judge_settings(settings, id.text().map_or(Plugin::Other, Plugin::of), &mut item);
        }
        self.keep(item);
    }
}

fn judge_settings(settings: &Node, plugin: Plugin, item: &mut Item) {
    let mut differs = |code, message: String| item.differs.push(Finding { code, message });
    let is_set = |key: &str| settings.text_of(key).is_some_and(|value| !value.is_empty());
    if plugin == Plugin::Official {
        for key in ["flatRateProject", "queryPriority"] {
            if is_set(key) {
                differs("setting-works", format!("{key}, which the official plugin ignored, now has its effect"));
            }
        }
    }
    for key in ["sendUsageData", "timeInterval", "enableSecureSocksProxy"] {
        if settings.get(key).is_some_and(|value| value.is_true() || value.text().is_some()) {
            differs("setting-ignored", format!("{key} is not read here"));
        }
    }
}
