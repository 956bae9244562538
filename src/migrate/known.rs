//! What is known of data sources: which plugin a name or a uid belongs to, from everything that the
//! files say and from the command line.

use std::collections::HashMap;

use crate::document::Node;

/// Weir's plugin id.
pub(super) const WEIR: &str = "weir-bigquery-datasource";
/// Weir's name, as in `plugin.json`.
pub(super) const WEIR_NAME: &str = "Weir BigQuery";

/// Whose a data source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// `grafana-bigquery-datasource`.
    Official,
    /// `doitintl-bigquery-datasource`.
    Doitintl,
    /// One of these two; the command line says so.
    Either,
    /// Ours.
    Weir,
    /// Another plugin, or Grafana itself.
    Other,
}

impl Plugin {
    /// The plugin of an id.
    pub(super) fn of(id: &str) -> Self {
        match id {
            "grafana-bigquery-datasource" => Self::Official,
            "doitintl-bigquery-datasource" => Self::Doitintl,
            WEIR => Self::Weir,
            _ => Self::Other,
        }
    }

    /// Whether it is to become Weir's.
    pub(super) fn is_peer(self) -> bool {
        matches!(self, Self::Official | Self::Doitintl | Self::Either)
    }

    /// A word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::Doitintl => "doitintl",
            Self::Either => "named on the command line",
            Self::Weir => "weir",
            Self::Other => "other",
        }
    }
}

/// The plugins of names and uids.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    plugins: HashMap<String, Plugin>,
}

impl Known {
    /// What the command line says: names and uids of data sources that are to become Weir's, and the
    /// uid of Weir's own.
    pub(super) fn from_options(datasources: &[String], uid: Option<&str>) -> Self {
        let peers = datasources.iter().map(|name| (name.clone(), Plugin::Either));
        let ours = uid.map(|uid| (uid.to_owned(), Plugin::Weir));
        Self { plugins: peers.chain(ours).collect() }
    }

    /// Learns from the data sources and the references of a document. What the command line says is
    /// only made more exact.
    pub(super) fn learn(&mut self, document: &Node) {
        document.each(&mut |node| {
            let plugin = node.text_of("type").map(Plugin::of);
            if let (Some(plugin), true) = (plugin, node.get("jsonData").or(node.get("access")).is_some()) {
                self.learn_source(node, plugin);
            }
            for source in node.get("datasources").map(Node::list).unwrap_or_default() {
                source.text_of("type").into_iter().for_each(|id| self.learn_source(source, Plugin::of(id)));
            }
            let reference = node.get("datasource");
            if let Some((id, uid)) = reference.and_then(|node| Some((node.text_of("type")?, node.text_of("uid")?))) {
                self.add(uid, Plugin::of(id));
            }
            if let Some((id, name)) = reference.and_then(|found| Some((node.text_of("group")?, found.text_of("name")?)))
            {
                self.add(name, Plugin::of(id));
            }
        });
    }

    fn learn_source(&mut self, source: &Node, plugin: Plugin) {
        ["name", "uid"].iter().filter_map(|key| source.text_of(key)).for_each(|name| self.add(name, plugin));
    }

    fn add(&mut self, name: &str, plugin: Plugin) {
        if name.is_empty() || name.contains('$') {
            return;
        }
        let found = self.plugins.entry(name.to_owned()).or_insert(plugin);
        if *found == Plugin::Either && plugin.is_peer() {
            *found = plugin;
        }
    }

    /// The plugin of a name or uid; of `default` for the default data source.
    pub(super) fn plugin(&self, name: &str) -> Option<Plugin> {
        let of_grafana = name.starts_with("-- ") || matches!(name, "__expr__" | "-100" | "grafana");
        if of_grafana { Some(Plugin::Other) } else { self.plugins.get(name).copied() }
    }
}

/// The name of the variable that a reference such as `$ds`, `${ds}`, `${ds:raw}` or `[[ds]]` is.
pub(super) fn variable_name(reference: &str) -> Option<&str> {
    let inner = reference
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .or_else(|| reference.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")))
        .or_else(|| reference.strip_prefix('$'))?;
    inner.split([':', '.']).next()
}
