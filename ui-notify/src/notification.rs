//! Notices on the desktop: the administrator's words first, and they stay until dismissed.

use notify_rust::{Notification, NotificationHandle, Timeout};
use postern_api::event::Notice;

/// Shows a notice. The handle keeps it on services that take notifications away with their sender.
///
/// # Errors
/// When the session has no notification service.
pub async fn show(notice: &Notice) -> Result<NotificationHandle, notify_rust::error::Error> {
    let markup = renders_markup();
    let mut notification = Notification::new();
    notification
        .appname("Postern")
        .summary(&notice.title.for_one_line())
        .body(&body(notice, markup))
        .icon("security-low")
        .timeout(Timeout::Never);
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

/// Returns the body: the warning verbatim, then tag, evidence and next step.
fn body(notice: &Notice, markup: bool) -> String {
    let warning = if markup { notice.warning.for_markup() } else { notice.warning.for_terminal() };
    let fault = postern_api::PlainText::new(notice.fault.to_string());
    let fault = if markup { fault.for_markup() } else { fault.for_terminal() };
    format!("{warning}\n\n{fault}")
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
    }
}
