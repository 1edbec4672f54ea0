//! What the listener answers: three fixed pages. Nothing that came in is in any of them.

use super::request::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

/// Sends the form by itself.
const SCRIPT: &str = "document.forms[0].submit()";

/// Makes the page that leads to the gateway.
pub(super) fn beginning(action: &str, fields: &[(&str, String)]) -> String {
    let inputs: String = fields
        .iter()
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value)))
        .collect();
    let form = format!(
        "<form method=\"post\" action=\"{}\">{inputs}<button>Sign on</button></form><script>{SCRIPT}</script>",
        escaped(action)
    );
    document("Signing on", &form)
}

/// Returns the digest by which a content security policy knows the script.
pub(super) fn script_digest() -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, SCRIPT.as_bytes())))
}

/// The answer to who begins.
pub(super) fn begin(page: &str, script: &str, cookie: &str) -> String {
    let policy = format!("default-src 'none'; script-src {script}; form-action https:");
    let cookie = format!("Set-Cookie: {cookie}; HttpOnly; SameSite=Lax; Path=/\r\n");
    response("200 OK", &policy, &cookie, page)
}

/// The answer to who brings the token.
pub(super) fn done(cookie: &str) -> String {
    let forget = format!("Set-Cookie: {cookie}=; Max-Age=0; HttpOnly; SameSite=Lax; Path=/\r\n");
    let page = document("Signed on", "<p>You are signed on. This page can be closed.</p>");
    response("200 OK", "default-src 'none'", &forget, &page)
}

/// The answer to everybody else.
pub(super) fn refused(refusal: Refusal) -> String {
    let status = match refusal {
        Refusal::Malformed => "400 Bad Request",
        Refusal::NotGet => "405 Method Not Allowed",
        Refusal::OtherHost => "421 Misdirected Request",
        Refusal::NothingHere => "404 Not Found",
        Refusal::NotNavigated | Refusal::NotBegunHere | Refusal::NoToken => "403 Forbidden",
    };
    let page = document("Not signed on", "<p>This is not how the sign-on goes. Connect again.</p>");
    response(status, "default-src 'none'", "", &page)
}

fn response(status: &str, policy: &str, more: &str, page: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: {policy}; base-uri 'none'; frame-ancestors 'none'\r\n{more}\r\n{page}",
        page.len()
    )
}

fn document(title: &str, body: &str) -> String {
    format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern: {title}</title>{body}</html>")
}

/// Makes text harmless within an attribute.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}
