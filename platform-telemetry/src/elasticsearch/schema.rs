//! The index templates on a server: which it can take, and installing them.

use super::Elasticsearch;
use ::elasticsearch::http::Method;
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::document::{Features, Signal, TEMPLATE_VERSION, index_template, template_name},
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What was found on a server and installed there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// The server's version: `9.4.3`.
    pub server_version: String,
    /// What the server knows of what the templates would like.
    pub features: Features,
    /// The templates that were written; those that were there already, and the same, are not among them.
    pub installed: Vec<String>,
}

/// Asks the server what it has and writes the templates. `data_streams` overrules what it says of them.
pub(super) async fn install(
    server: &Elasticsearch,
    retention: Duration,
    data_streams: Option<bool>,
    deadline: Duration,
) -> Result<Schema> {
    let until = Instant::now() + deadline;
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let info = server.ask(Method::Get, "/", None, left()).await?;
    let server_version =
        info.pointer("/version/number").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let data_streams = match data_streams {
        Some(given) => given,
        None => has_data_streams(server, left()).await?,
    };
    let mut schema = Schema {
        server_version,
        features: Features { data_streams, ..Features::ALL },
        installed: Vec::new(),
    };
    for signal in Signal::ALL {
        let name = template_name(signal);
        let path = format!("/_index_template/{name}");
        let present = present(server, &path, left()).await?;
        let version = present.as_ref().and_then(|template| template.get("version")?.as_u64()).unwrap_or(0);
        if version > TEMPLATE_VERSION {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("it is of version {version}, and this program writes version {TEMPLATE_VERSION}"),
            )
            .help("use the newer program, or delete the template"));
        }
        loop {
            let wanted = index_template(signal, schema.features, retention);
            match server.ask(Method::Put, &path, Some(&wanted), left()).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    schema.features = without_refused(schema.features, error)?;
                    continue;
                }
                Err(error) => {
                    return Err(error.operation("install").subject(format!("index template {name}")));
                }
            }
            // Elasticsearch writes a template in a form of its own: only it can say whether ours is another.
            if self::present(server, &path, left()).await? != present {
                schema.installed.push(name);
            }
            break;
        }
    }
    Ok(schema)
}

async fn has_data_streams(server: &Elasticsearch, deadline: Duration) -> Result<bool> {
    match server.ask(Method::Get, "/_data_stream", None, deadline).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => Ok(false),
        Err(error) => Err(error.operation("ask for data streams")),
    }
}

/// The template as the server has it.
async fn present(server: &Elasticsearch, path: &str, deadline: Duration) -> Result<Option<Value>> {
    match server.ask(Method::Get, path, None, deadline).await {
        Ok(mut answer) => Ok(answer.pointer_mut("/index_templates/0/index_template").map(Value::take)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.operation("read").subject(path.to_owned())),
    }
}

/// The features less the one by whose name the server refused a template, or with the data streams that it has; the error itself if it is about
/// something else.
fn without_refused(features: Features, error: Error) -> Result<Features> {
    let text = error.to_string();
    if features.constant_keyword && text.contains("constant_keyword") {
        return Ok(Features { constant_keyword: false, ..features });
    }
    if features.match_only_text && text.contains("match_only_text") {
        return Ok(Features { match_only_text: false, ..features });
    }
    if !features.data_streams && text.contains("no longer match a data stream template") {
        // There are some already, whatever the server says of them.
        return Ok(Features { data_streams: true, ..features });
    }
    if features.look_back_time && text.contains("look_back_time") {
        return Ok(Features { look_back_time: false, ..features });
    }
    Err(error.operation("install").subject("index templates"))
}
