//! The files of the page, as they are compiled in.

use axum::{
    extract::Path,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use platform_core::Error;

use super::problem::Problem;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: &str = include_str!("page/index.html");

const FILES: [(&str, &str, &str); 12] = [
    ("console.css", CSS, include_str!("page/console.css")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("format.js", SCRIPT, include_str!("page/format.js")),
    ("status.js", SCRIPT, include_str!("page/status.js")),
    ("alerts.js", SCRIPT, include_str!("page/alerts.js")),
    ("charts.js", SCRIPT, include_str!("page/charts.js")),
    ("logs.js", SCRIPT, include_str!("page/logs.js")),
    ("favicon.svg", SVG, include_str!("page/favicon.svg")),
    ("uplot.min.js", SCRIPT, include_str!("page/vendor/uplot.min.js")),
    ("uplot.min.css", CSS, include_str!("page/vendor/uplot.min.css")),
];

/// The licence of the chart library, which asks to be passed on with it.
const LICENSE: (&str, &str) = ("uplot.LICENSE", include_str!("page/vendor/LICENSE"));

pub(super) async fn page() -> Response {
    ([(CONTENT_TYPE, HTML)], PAGE).into_response()
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    let (license, license_text) = LICENSE;
    let found = FILES.iter().find(|(file, ..)| *file == name).map(|(_, kind, text)| (*kind, *text));
    let found = found.or_else(|| (name == license).then_some((TEXT, license_text)));
    match found {
        Some((kind, text)) => ([(CONTENT_TYPE, kind)], text).into_response(),
        None => Problem::from(Error::not_found(format!("the page has no file {name:?}"))).into_response(),
    }
}
