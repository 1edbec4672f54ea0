//! The StatusNotifierItem, through `ksni`. It lives on when the panel goes and shows itself again
//! when one comes back.

use crate::icon::icon;
use crate::session::Input;
use crate::view::{Command, Entry, View, view};
use ksni::menu::{MenuItem, StandardItem, SubMenu};
use ksni::{Category, Handle, Icon, OfflineReason, Status, ToolTip, TrayMethods};
use tokio::sync::mpsc::UnboundedSender;

/// Sizes at which panels ask for icons.
const SIZES: [u16; 4] = [16, 22, 32, 48];

/// The icon, or none when it was not asked for or there is no session bus.
pub struct Tray(Option<Handle<Item>>);

impl Tray {
    /// No icon was asked for.
    pub fn none() -> Self {
        Self(None)
    }

    /// Shows the icon, now or as soon as a panel is there.
    pub async fn show(inputs: UnboundedSender<Input>) -> Self {
        let item = Item { view: view(&crate::model::Model::default()), inputs };
        match item.assume_sni_available(true).spawn().await {
            Ok(handle) => Self(Some(handle)),
            Err(error) => {
                tracing::warn!("no tray icon: {error}; next: start it from a desktop session");
                Self(None)
            }
        }
    }

    /// Shows a view.
    pub async fn draw(&mut self, view: View) {
        if let Some(handle) = &self.0 {
            handle.update(|item| item.view = view).await;
        }
    }
}

struct Item {
    view: View,
    inputs: UnboundedSender<Input>,
}

impl Item {
    fn send(&self, command: Command) {
        // The session ends before its receiver does; then nothing is left to command.
        let _ = self.inputs.send(Input::Command(command));
    }
}

impl ksni::Tray for Item {
    const MENU_ON_ACTIVATE: bool = true;

    fn id(&self) -> String {
        "postern".into()
    }

    fn category(&self) -> Category {
        Category::SystemServices
    }

    fn title(&self) -> String {
        self.view.title.clone()
    }

    fn status(&self) -> Status {
        if self.view.attention { Status::NeedsAttention } else { Status::Active }
    }

    fn icon_pixmap(&self) -> Vec<Icon> {
        SIZES
            .iter()
            .map(|size| {
                let picture = icon(self.view.state, *size);
                Icon { width: i32::from(picture.size), height: i32::from(picture.size), data: picture.argb }
            })
            .collect()
    }

    fn attention_icon_pixmap(&self) -> Vec<Icon> {
        self.icon_pixmap()
    }

    fn tool_tip(&self) -> ToolTip {
        // Hosts render markup in tooltips, so what came from outside is escaped once more.
        let description = postern_api::PlainText::new(self.view.description.clone()).for_markup();
        ToolTip { title: self.view.title.clone(), description, icon_name: String::new(), icon_pixmap: Vec::new() }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.view.menu.iter().map(item).collect()
    }

    fn watcher_online(&self) {
        tracing::info!("the panel shows the icon");
    }

    fn watcher_offline(&self, _reason: OfflineReason) -> bool {
        tracing::info!("the panel is away; the icon comes back with it");
        true
    }
}

/// Returns a menu entry for `ksni`. In its labels an underscore marks an access key, so a real one
/// is doubled.
fn item(entry: &Entry) -> MenuItem<Item> {
    let label = |text: &str| text.replace('_', "__");
    match entry {
        Entry::Separator => MenuItem::Separator,
        Entry::Line(text) => StandardItem { label: label(text), enabled: false, ..Default::default() }.into(),
        Entry::Action(text, command) => {
            let command = command.clone();
            let activate = Box::new(move |item: &mut Item| item.send(command.clone()));
            StandardItem { label: label(text), activate, ..Default::default() }.into()
        }
        Entry::Menu(text, entries) => {
            SubMenu { label: label(text), submenu: entries.iter().map(item).collect(), ..Default::default() }.into()
        }
    }
}
