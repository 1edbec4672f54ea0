//! The story of the article, played with the real programs on real packets, each act asserted.
//!
//! | module | holds |
//! |---|---|
//! | [`stage`] | hosts, wires and servers: client, router as "internet", gateway, corporate host, EMS |
//! | [`timeline`] | what a person or a script reads while it plays |
//! | [`traffic`] | a download through the tunnel, and what is on the wire after a loss |
//! | [`policy`] | the profile and the tagging rules that the administrator sets |
//! | [`opening`] | enrol; unknown is not good; refused at the host; connected |
//! | [`losses`] | torn down three times; switched off |
//! | [`gateway_check`] | the article's second method: the gateway demands tags |

pub mod gateway_check;
pub mod losses;
pub mod opening;
pub mod policy;
pub mod stage;
pub mod timeline;
pub mod traffic;

use anyhow::Result;
use stage::Stage;
use timeline::Timeline;

/// One act: its name and what it plays.
type Act = (&'static str, fn(&mut Stage, &mut Timeline) -> Result<()>);

const ACTS: &[Act] = &[
    ("Enrol", opening::enrol),
    ("Never scanned is not healthy", opening::unknown),
    ("Refused at the host", opening::refused),
    ("Connected", opening::connected),
    ("Torn down: the vulnerable version comes back", losses::vulnerable_again),
    ("Torn down: an allowed tag is lost", losses::allowed_lost),
    ("Torn down: the administrator adds a prohibition", losses::prohibition_added),
    ("Switched off", losses::switched_off),
    ("At the gateway: the default sharing", gateway_check::default_sharing),
    ("At the gateway: share all", gateway_check::share_all),
    ("At the gateway: only Antivirus running", gateway_check::only_antivirus),
];

/// Plays every act.
///
/// # Errors
/// The first assertion that failed, with its act; what was told until then has been printed.
pub fn play(timeline: &mut Timeline) -> Result<()> {
    let mut stage = timeline.act("The stage", |timeline| {
        let stage = Stage::build()?;
        timeline.say("client 10.0.3.2 – router – gateway 203.0.113.2 – corporate host 10.98.0.1; EMS 198.51.100.5");
        Ok(stage)
    })?;
    for (name, act) in ACTS {
        timeline.act(name, |timeline| act(&mut stage, timeline))?;
    }
    Ok(())
}
