//! What is shown for a model: icon, tooltip and menu, as values.

use crate::model::Model;
use postern_api::posture::{Decrees, TagPresence, TagReport};
use postern_api::state::{Origin, PostureStanding, TunnelStatus};
use postern_api::{ConnectionState, PlainText};

/// What a menu entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bring a tunnel up.
    Connect(String),
    /// Take a tunnel down.
    Disconnect(String),
    /// Lift the block that a lost compliance left.
    Dismiss(String),
    /// Explain how posture stands towards a tunnel.
    Explain(String),
    /// Show the last warning again.
    ShowLastNotice,
    /// Look for vulnerable packages now.
    Scan,
    /// End the tray; connections stay.
    Quit,
}

/// One entry of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Text that cannot be chosen.
    Line(String),
    /// Text that does something.
    Action(String, Command),
    /// A menu within the menu.
    Menu(String, Vec<Entry>),
    /// A line between groups.
    Separator,
}

/// Everything the tray shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Decides the icon's shape and colour.
    pub state: ConnectionState,
    /// Whether the icon asks for an eye.
    pub attention: bool,
    /// One line.
    pub title: String,
    /// A few lines.
    pub description: String,
    /// The menu.
    pub menu: Vec<Entry>,
}

/// Returns what is shown for `model`.
pub fn view(model: &Model) -> View {
    let state = model.state();
    let mut menu = vec![Entry::Line(format!("Postern: {}", words(state)))];
    let mut lines = Vec::new();
    if let Some(status) = &model.status {
        menu.push(Entry::Separator);
        for line in decreed(&status.posture.decrees) {
            menu.push(Entry::Line(line.clone()));
            lines.push(line);
        }
        for tunnel in &status.tunnels {
            menu.push(Entry::Menu(tunnel_label(tunnel), tunnel_entries(tunnel)));
            lines.push(tunnel_label(tunnel));
        }
        if status.tunnels.is_empty() {
            menu.push(Entry::Line("No tunnel yet: postern enroll, or postern tunnel add".into()));
        }
        menu.push(Entry::Separator);
        menu.push(Entry::Menu("Security posture tags".into(), tag_entries(&status.posture)));
        if let Some((tunnel, explanation)) = &model.explained {
            let lines = explanation.lines.iter().map(|line| Entry::Line(line.for_one_line())).collect();
            menu.push(Entry::Menu(format!("Why: {}", plain(&PlainText::new(tunnel.as_str()))), lines));
        }
        menu.push(Entry::Action("Scan for vulnerabilities".into(), Command::Scan));
    } else {
        menu.push(Entry::Line("The service does not answer. Next: systemctl start posternd".into()));
    }
    if let Some(prompt) = model.prompts.first() {
        menu.push(Entry::Line(format!("{} waits for an answer", plain(&prompt.tunnel))));
    }
    if let Some(failure) = &model.last_failure {
        menu.push(Entry::Line(failure.clone()));
        lines.push(failure.clone());
    }
    if let Some(notice) = &model.last_notice {
        menu.push(Entry::Separator);
        menu.push(Entry::Line(plain(&notice.warning)));
        if !notice.explanation.is_empty() {
            let lines = notice.explanation.iter().map(|line| Entry::Line(line.for_one_line())).collect();
            menu.push(Entry::Menu("Why".into(), lines));
        }
        menu.push(Entry::Action("Show the last warning".into(), Command::ShowLastNotice));
    }
    menu.push(Entry::Separator);
    menu.push(Entry::Action("Quit the tray".into(), Command::Quit));
    let attention = model.status.as_ref().is_some_and(|status| status.attention);
    View { state, attention, title: format!("Postern: {}", words(state)), description: lines.join("\n"), menu }
}

/// Returns a state in words for people.
pub fn words(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Disconnected => "disconnected",
        ConnectionState::Connecting => "connecting…",
        ConnectionState::NeedsInput => "waiting for your answer",
        ConnectionState::Connected => "connected",
        ConnectionState::Reconnecting => "reconnecting…",
        ConnectionState::Disconnecting => "disconnecting…",
        ConnectionState::Blocked => "blocked by security posture",
        ConnectionState::Quarantined => "in quarantine",
        ConnectionState::ServiceUnavailable => "service not running",
    }
}

/// What holds for the endpoint as a whole, before everything else.
fn decreed(decrees: &Decrees) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(words) = &decrees.quarantine {
        lines.push("⚠ This endpoint is in quarantine".into());
        lines.extend((!words.is_blank()).then(|| plain(words)));
    }
    if let Some(used) = &decrees.break_glass {
        lines.push(format!("⚠ The host check is overridden by a break-glass code until {}", used.until));
    }
    if decrees.deregistered {
        lines.push("⚠ EMS has deregistered this endpoint".into());
    }
    lines
}

fn tunnel_label(tunnel: &TunnelStatus) -> String {
    format!("{} – {}", plain(&tunnel.name), words(tunnel.state))
}

fn tunnel_entries(tunnel: &TunnelStatus) -> Vec<Entry> {
    let name = tunnel.name.as_received().to_owned();
    let mut entries = Vec::new();
    match tunnel.state {
        ConnectionState::Disconnected | ConnectionState::Blocked => {
            entries.push(Entry::Action("Connect".into(), Command::Connect(name.clone())));
        }
        ConnectionState::Connected
        | ConnectionState::Connecting
        | ConnectionState::NeedsInput
        | ConnectionState::Reconnecting => {
            entries.push(Entry::Action("Disconnect".into(), Command::Disconnect(name.clone())));
        }
        ConnectionState::Disconnecting | ConnectionState::Quarantined | ConnectionState::ServiceUnavailable => {}
    }
    if tunnel.blocked {
        entries.push(Entry::Action("Lift the block on its networks".into(), Command::Dismiss(name.clone())));
    }
    entries.push(Entry::Action("Explain the security posture".into(), Command::Explain(name)));
    entries.push(Entry::Line(format!("Gateway: {}", plain(&tunnel.gateway))));
    if tunnel.origin == Origin::Managed {
        entries.push(Entry::Line("Managed by your administrator".into()));
    }
    entries.push(Entry::Line(match &tunnel.posture {
        PostureStanding::NotEnforced => "Posture not enforced".into(),
        PostureStanding::Compliant => "Posture: compliant".into(),
        PostureStanding::Audit { would_be } => format!("Posture: would be refused ({})", would_be.name),
        PostureStanding::Overridden { would_be, until } => {
            format!("⚠ Posture: overridden by a break-glass code until {until} ({})", would_be.name)
        }
        PostureStanding::Refused { fault } => format!("Posture: refused ({})", fault.name),
    }));
    if let Some(established) = &tunnel.established {
        let addresses: Vec<_> = established.addresses.iter().map(ToString::to_string).collect();
        entries.push(Entry::Line(format!("Address: {}", addresses.join(", "))));
        entries.extend(established.warnings.iter().map(|warning| Entry::Line(format!("⚠ {}", plain(warning)))));
    }
    if let Some(fault) = &tunnel.last_fault {
        entries.push(Entry::Line(fault.to_string()));
    }
    entries
}

fn tag_entries(report: &TagReport) -> Vec<Entry> {
    let mut entries = vec![Entry::Line(match (&report.ems, report.telemetry_connected) {
        (Some(ems), true) => format!("{}: telemetry connected", plain(ems)),
        (Some(ems), false) => format!("{}: out of reach", plain(ems)),
        (None, _) => "Not enrolled".into(),
    })];
    if let Some(reason) = &report.unknown_because {
        entries.push(Entry::Line(format!("Nothing is known: {}", plain(reason))));
    }
    for tag in &report.tags {
        let mark = match tag.presence {
            TagPresence::Present => "●",
            TagPresence::Absent => "○",
            TagPresence::Unknown => "?",
        };
        entries.push(Entry::Line(format!("{mark} {} – {}", plain(&tag.name), plain(&tag.because))));
    }
    entries
}

/// Returns outside text for one menu line: shown, never obeyed, and not too long for a menu.
fn plain(text: &PlainText) -> String {
    const LONGEST: usize = 120;
    let line = text.for_one_line();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{notice, status, tunnel};
    use postern_api::Event;

    fn actions(entries: &[Entry]) -> Vec<Command> {
        entries
            .iter()
            .flat_map(|entry| match entry {
                Entry::Action(_, command) => vec![command.clone()],
                Entry::Menu(_, inner) => actions(inner),
                Entry::Line(_) | Entry::Separator => Vec::new(),
            })
            .collect()
    }

    #[test]
    fn a_tunnel_that_is_down_can_be_connected_and_one_that_is_up_disconnected() {
        let mut model = Model::default();
        let tunnels = vec![tunnel("down", ConnectionState::Disconnected), tunnel("up", ConnectionState::Connected)];
        model.apply(Event::Snapshot { status: status(tunnels) });
        let commands = actions(&view(&model).menu);
        assert!(commands.contains(&Command::Connect("down".into())));
        assert!(commands.contains(&Command::Disconnect("up".into())));
        assert!(!commands.contains(&Command::Connect("up".into())));
    }

    #[test]
    fn a_block_can_be_lifted_and_the_warning_read_again() {
        let mut model = Model::default();
        model.apply(Event::Snapshot { status: status(vec![tunnel("RA-VPN", ConnectionState::Blocked)]) });
        model.apply(Event::Notice { notice: notice(1) });
        let view = view(&model);
        let commands = actions(&view.menu);
        assert!(commands.contains(&Command::Dismiss("RA-VPN".into())));
        assert!(commands.contains(&Command::ShowLastNotice));
        assert!(view.menu.contains(&Entry::Line("Update <b>your</b> machine".into())));
        assert!(commands.contains(&Command::Explain("RA-VPN".into())));
        assert!(view.attention);
    }

    #[test]
    fn the_tree_of_an_explanation_is_shown_line_by_line() {
        let lines = [
            "RA-VPN: may be connected",
            "prohibited: Critical",
            "  └─ rule 1, file /a: does not hold: /a is not there",
        ];
        let lines = lines.map(PlainText::from).to_vec();
        let shown = Entry::Menu(
            "Why: RA-VPN".into(),
            lines.iter().map(|line| Entry::Line(line.as_received().to_owned())).collect(),
        );
        let mut model = Model::default();
        model.apply(Event::Snapshot { status: status(vec![tunnel("RA-VPN", ConnectionState::Connected)]) });
        assert!(!view(&model).menu.contains(&shown));
        model.explained = Some(("RA-VPN".into(), postern_api::method::Explanation { lines: lines.clone() }));
        assert!(view(&model).menu.contains(&shown), "{:?}", view(&model).menu);
        let notice = postern_api::event::Notice { explanation: lines, ..notice(1) };
        model.apply(Event::Notice { notice });
        let menu = view(&model).menu;
        assert!(
            menu.iter().any(|entry| matches!(entry, Entry::Menu(title, inner) if title == "Why" && inner.len() == 3))
        );
        model.service_lost();
        assert_eq!(model.explained, None, "who is gone explains nothing");
    }

    #[test]
    fn without_a_service_the_menu_says_so_and_offers_no_tunnel() {
        let view = view(&Model::default());
        assert_eq!(view.state, ConnectionState::ServiceUnavailable);
        assert_eq!(actions(&view.menu), vec![Command::Quit]);
    }
}
