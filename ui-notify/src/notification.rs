//! Notices on the desktop: the administrator's words first, and they stay until dismissed.

use notify_rust::{Notification, NotificationHandle, Timeout};
use postern_api::PlainText;
use postern_api::event::Notice;
use postern_api::method::Explanation;

/// How many lines of an explanation fit into a notification; the rest is in the tray's menu.
const LINES: usize = 24;

/// Shows a notice. The handle keeps it on services that take notifications away with their sender.
///
/// # Errors
/// When the session has no notification service.
pub async fn show(notice: &Notice) -> Result<NotificationHandle, notify_rust::error::Error> {
    put(&notice.title.for_one_line(), &body(notice, renders_markup())).await
}

/// Shows why posture stands as it does.
///
/// # Errors
/// When the session has no notification service.
pub async fn explain(
    subject: &str,
    explanation: &Explanation,
) -> Result<NotificationHandle, notify_rust::error::Error> {
    let title = PlainText::new(format!("Security posture of {subject}")).for_one_line();
    put(&title, &tree(&explanation.lines, renders_markup())).await
}

async fn put(title: &str, body: &str) -> Result<NotificationHandle, notify_rust::error::Error> {
    let mut notification = Notification::new();
    notification.appname("Postern").summary(title).body(body).icon("security-low").timeout(Timeout::Never);
    #[cfg(all(unix, not(target_os = "macos")))]
    notification.urgency(notify_rust::Urgency::Critical);
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        notification.show_async().await
    }
    #[cfg(any(windows, target_os = "macos"))]
    {
        notification.show()
    }
}

/// Returns the body: the warning verbatim, then tag, evidence and next step, then the rules as a tree.
fn body(notice: &Notice, markup: bool) -> String {
    let warning = shown(&notice.warning, markup);
    let fault = shown(&PlainText::new(notice.fault.to_string()), markup);
    let tree = tree(&notice.explanation, markup);
    let gap = if tree.is_empty() { "" } else { "\n\n" };
    format!("{warning}\n\n{fault}{gap}{tree}")
}

/// Returns the lines of an explanation as they are, those that do not fit left out.
fn tree(lines: &[PlainText], markup: bool) -> String {
    let mut text: Vec<String> = lines.iter().take(LINES).map(|line| shown(line, markup)).collect();
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        text.push(format!("… and {more} more lines: postern posture explain"));
    }
    text.join("\n")
}

fn shown(text: &PlainText, markup: bool) -> String {
    if markup { text.for_markup() } else { text.for_terminal() }
}

/// Tells whether the notification service would render markup in a body. When it does not say,
/// it is taken to: an entity shown is better than a link obeyed.
fn renders_markup() -> bool {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        // The question blocks; it is asked from a thread of its own, never from the runtime's.
        std::thread::spawn(|| notify_rust::get_capabilities().ok())
            .join()
            .ok()
            .flatten()
            .is_none_or(|capabilities| capabilities.iter().any(|capability| capability == "body-markup"))
    }
    #[cfg(any(windows, target_os = "macos"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::notice;

    #[test]
    fn the_administrators_words_come_first_and_are_not_rendered() {
        let plain = body(&notice(1), false);
        assert!(plain.starts_with("Update <b>your</b> machine\n"), "{plain}");
        let marked = body(&notice(1), true);
        assert!(marked.starts_with("Update &lt;b&gt;your&lt;/b&gt; machine\n"), "{marked}");
        assert!(marked.contains("Next: upgrade curl."), "{marked}");
        let lines = ["Critical: present (rule set \"c\")", "└─ rule 1, file /etc/<b>: holds"];
        let explained = Notice { explanation: lines.map(PlainText::from).to_vec(), ..notice(1) };
        assert!(body(&explained, false).ends_with(&lines.join("\n")), "the tree as `postern posture explain` has it");
        assert!(body(&explained, true).ends_with("file /etc/&lt;b&gt;: holds"), "{}", body(&explained, true));
        let long = vec![PlainText::from("line"); LINES + 3];
        assert!(tree(&long, false).ends_with("… and 3 more lines: postern posture explain"));
    }
}
